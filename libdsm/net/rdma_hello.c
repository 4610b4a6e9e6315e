/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_hello.c - who may talk to whom. All of it runs on the loop's thread.
 *
 * The one that connected says its hello as the first message on the request pair, the other
 * answers; then the first says that it is ready, from which on the other may send too: a frame on
 * the reply pair could overtake the answer otherwise. When both ranks try at once, the lower rank's
 * attempt counts, as over tcp: the lower one answers the other's hello with YIELD, the higher one
 * drops its own. Frames wait in the connections' queues, so nothing is lost by that.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/rng.h"
#include <string.h>
#include <unistd.h>

#define MAX_CREDITS (1u << 16)

static bool say(struct dsm_rdma_link *link, unsigned place, enum dsm_rdma_kind kind,
                const uint8_t *packet, size_t len_bytes)
{
    struct dsm_net *net = link->net;
    struct dsm_rdma_buffer *buffer = dsm_rdma_buffer_take_kept(net);
    struct ibv_send_wr *bad;
    if (!buffer && dsm_rdma_reap(net, true)) /* many at once: those that are out have come back */
        buffer = dsm_rdma_buffer_take_kept(net);
    if (!buffer)
        return false;
    memset(buffer->bytes, 0, DSM_RDMA_WORD_BYTES);
    buffer->bytes[0] = (uint8_t)kind;
    if (len_bytes)
        memcpy(buffer->bytes + DSM_RDMA_WORD_BYTES, packet, len_bytes);
    struct ibv_sge sge = {(uintptr_t)buffer->bytes, (uint32_t)(DSM_RDMA_WORD_BYTES + len_bytes),
                          buffer->lkey};
    struct ibv_send_wr wr = {.wr_id = (uintptr_t)link | DSM_RDMA_SAID | place << 1,
                             .sg_list = &sge,
                             .num_sge = 1,
                             .opcode = IBV_WR_SEND,
                             .send_flags = IBV_SEND_SIGNALED};
    dsm_mutex_lock(&net->sends.lock);
    link->said[place] = buffer;
    dsm_mutex_unlock(&net->sends.lock);
    return ibv_post_send(link->qps[DSM_RDMA_REQUEST].qp, &wr, &bad) == 0;
}

static struct dsm_hello own_hello(const struct dsm_net *net, uint32_t to_rank, uint64_t attempt)
{
    const struct dsm_hello_self self = {net->self, net->n_ranks, net->epoch, net->token,
                                        net->build};
    struct dsm_hello hello = dsm_hello_of(&self, to_rank, attempt);
    hello.memory_addr = (uint64_t)(uintptr_t)net->region.memory;
    hello.memory_bytes = net->region.len_bytes;
    hello.credits = net->credits;
    return hello;
}

void dsm_rdma_hello_say(struct dsm_rdma_link *link)
{
    struct dsm_hello hello = own_hello(link->net, link->peer->rank, link->peer->attempt);
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    if (!say(link, 0, DSM_RDMA_HELLO, packet, dsm_hello_pack(&hello, packet)))
        dsm_rdma_hello_broken(link, DSM_E_CONNECT, "the hello could not be sent");
}

void dsm_rdma_hello_broken(struct dsm_rdma_link *link, int error, const char *why)
{
    struct dsm_net *net = link->net;
    if (link->peer) {
        char line[DSM_RDMA_WHY_BYTES];
        dsm_format(line, sizeof line, "rank %u at %s: %s", link->peer->rank, link->who, why);
        dsm_rdma_peer_fail(link->peer, error, line);
        return;
    }
    if (link->state == DSM_RDMA_LINK_AWAITS_HELLO && error == DSM_E_CONNECT)
        dsm_log(DSM_LOG_INFO, "rank %u: a connection from %s went without a word", net->self,
                link->who);
    else if (link->state != DSM_RDMA_LINK_REFUSED)
        dsm_refusals_note(&net->refusals, net->self, link->who, error, why);
    dsm_rdma_link_close(link);
}

/* ---- the side that connected ---- */

/* Ours is dropped; the peer's runs. */
static void yield(struct dsm_rdma_link *link)
{
    link->peer->state = DSM_RDMA_YIELDED; /* until the peer's hello comes, or the deadline */
    dsm_rdma_link_close(link);
}

static void take_answer(struct dsm_rdma_link *link, const uint8_t *bytes, size_t len_bytes)
{
    struct dsm_rdma_peer *peer = link->peer;
    struct dsm_hello_answer answer;
    char why[DSM_RDMA_WHY_BYTES];
    const char *reason;
    if (dsm_hello_unpack_answer(bytes, len_bytes, &answer, &reason)) {
        dsm_format(why, sizeof why, "malformed answer to the hello: %s", reason);
        dsm_rdma_hello_broken(link, DSM_E_PROTO, why);
        return;
    }
    switch (answer.status) {
    case DSM_HELLO_REFUSED:
        dsm_format(why, sizeof why, "refused: %s", answer.reason);
        dsm_rdma_hello_broken(link, answer.error, why);
        return;
    case DSM_HELLO_YIELD:
        yield(link);
        return;
    case DSM_HELLO_ACCEPTED:
        break;
    }
    struct dsm_hello own = own_hello(link->net, peer->rank, peer->attempt);
    int error = dsm_hello_check(&own, &answer.hello, why, sizeof why);
    if (!error && (answer.hello.rank != peer->rank || answer.hello.attempt != peer->attempt ||
                   answer.hello.credits == 0 || answer.hello.credits > MAX_CREDITS)) {
        dsm_format(why, sizeof why, "rank %u answered where rank %u was asked", answer.hello.rank,
                   peer->rank);
        error = DSM_E_MISMATCH;
    }
    if (!error)
        error = dsm_rdma_peer_up(peer, link, &answer.hello);
    if (!error && !say(link, 1, DSM_RDMA_READY, NULL, 0)) {
        dsm_format(why, sizeof why, "the connection ended with the hello");
        error = DSM_E_CONNECT;
    }
    if (error) {
        dsm_rdma_hello_broken(link, error, why);
        return;
    }
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
        dsm_rdma_tx_up(&peer->conns[lane], link->qps[lane].qp);
}

/* ---- the side that was connected to ---- */

static bool answer_with(struct dsm_rdma_link *link, const struct dsm_hello_answer *answer)
{
    uint8_t packet[DSM_HELLO_PACKET_BYTES];
    return say(link, 0, DSM_RDMA_ANSWER, packet, dsm_hello_pack_answer(answer, packet));
}

/* The other end hangs up when it has read it, or the deadline does. */
static void refuse(struct dsm_rdma_link *link, int error, const char *why)
{
    struct dsm_hello_answer answer = {.status = DSM_HELLO_REFUSED, .error = error};
    dsm_format(answer.reason, sizeof answer.reason, "%s", why);
    dsm_refusals_note(&link->net->refusals, link->net->self, link->who, error, why);
    link->state = DSM_RDMA_LINK_REFUSED;
    (void)answer_with(link, &answer);
}

static void answer_yield(struct dsm_rdma_link *link)
{
    struct dsm_hello_answer answer = {.status = DSM_HELLO_YIELD};
    link->state = DSM_RDMA_LINK_REFUSED;
    (void)answer_with(link, &answer);
}

/* Of two attempts at once the lower rank's counts. */
static bool wins_over(const struct dsm_rdma_peer *peer)
{
    return peer->is_ours && peer->rank > peer->conns[0].net->self;
}

/* Makes the peer ready for an attempt of its own. False: the link has been answered. */
static bool make_way(struct dsm_rdma_link *link, struct dsm_rdma_peer *peer,
                     const struct dsm_hello *hello)
{
    char why[DSM_RDMA_WHY_BYTES];
    if (atomic_load(&peer->is_losing) || peer->has_ended) {
        dsm_format(why, sizeof why, "rank %u was lost before", peer->rank);
        refuse(link, DSM_E_PEER, why);
        return false;
    }
    switch (peer->state) {
    case DSM_RDMA_UP:
        if (wins_over(peer) && dsm_clock_ns() < peer->deadline_ns) {
            /* An attempt that the peer gave up for ours; its hello was on its way already. */
            answer_yield(link);
            return false;
        }
        dsm_format(why, sizeof why, "rank %u is connected already", peer->rank);
        refuse(link, DSM_E_BUSY, why);
        return false;
    case DSM_RDMA_CONNECTING:
        if (wins_over(peer)) {
            answer_yield(link);
            return false;
        }
        break;
    case DSM_RDMA_NONE:
    case DSM_RDMA_YIELDED:
        break;
    }
    if (peer->link)
        dsm_rdma_link_close(peer->link);
    peer->attempt = hello->attempt;
    peer->is_ours = false;
    peer->deadline_ns = dsm_clock_ns() + link->net->connect_timeout_ns;
    return true;
}

static void take_hello(struct dsm_rdma_link *link, const uint8_t *bytes, size_t len_bytes)
{
    struct dsm_net *net = link->net;
    struct dsm_hello hello;
    char why[DSM_RDMA_WHY_BYTES];
    const char *reason;
    if (dsm_hello_unpack(bytes, len_bytes, &hello, &reason)) {
        dsm_format(why, sizeof why, "malformed hello: %s", reason);
        dsm_rdma_hello_broken(link, DSM_E_PROTO, why);
        return;
    }
    struct dsm_hello own = own_hello(net, hello.rank, hello.attempt);
    int error = dsm_hello_check(&own, &hello, why, sizeof why);
    if (!error && (hello.credits == 0 || hello.credits > MAX_CREDITS)) {
        dsm_format(why, sizeof why, "rank %u gives %u credits, 1 to %u are possible", hello.rank,
                   hello.credits, MAX_CREDITS);
        error = DSM_E_PROTO;
    }
    if (error) {
        refuse(link, error, why);
        return;
    }
    struct dsm_rdma_peer *peer = &net->peers[hello.rank];
    if (!make_way(link, peer, &hello))
        return;
    struct dsm_hello_answer answer = {.status = DSM_HELLO_ACCEPTED, .hello = own};
    link->peer = peer;
    peer->link = link;
    net->n_strangers--;
    error = dsm_rdma_peer_up(peer, link, &hello);
    if (error || !answer_with(link, &answer))
        dsm_rdma_hello_broken(link, error ? error : DSM_E_CONNECT, "the hello cannot be answered");
}

/* ---- both ---- */

/* A whole packet as it goes over tcp: the prefix tells the length again. */
static void take_mail(struct dsm_rdma_link *link, const struct dsm_rdma_buffer *buffer)
{
    const uint8_t *packet = buffer->bytes + DSM_RDMA_WORD_BYTES;
    const uint32_t least = DSM_RDMA_WORD_BYTES + DSM_HELLO_PREFIX_BYTES;
    enum dsm_rdma_kind kind = link->is_ours ? DSM_RDMA_ANSWER : DSM_RDMA_HELLO;
    char why[DSM_RDMA_WHY_BYTES];
    if (buffer->len_bytes < least || buffer->bytes[0] != kind) {
        dsm_rdma_hello_broken(link, DSM_E_PROTO, "the first message is no hello");
        return;
    }
    uint32_t len_bytes = dsm_get_u32(packet);
    if (len_bytes > DSM_HELLO_MAX_BYTES || len_bytes != buffer->len_bytes - least) {
        dsm_format(why, sizeof why, "hello of %u bytes in a message of %u, at most %u are allowed",
                   len_bytes, buffer->len_bytes - least, DSM_HELLO_MAX_BYTES);
        dsm_rdma_hello_broken(link, DSM_E_PROTO, why);
    } else if (link->is_ours) {
        take_answer(link, packet + DSM_HELLO_PREFIX_BYTES, len_bytes);
    } else {
        take_hello(link, packet + DSM_HELLO_PREFIX_BYTES, len_bytes);
    }
}

/* True: one link had something for us, and the list may be another one now. */
static bool take_next_mail(struct dsm_net *net)
{
    for (struct dsm_rdma_link *link = net->links; link; link = link->next) {
        struct dsm_rdma_buffer *buffer = atomic_exchange(&link->mail, NULL);
        if (buffer) {
            take_mail(link, buffer);
            dsm_rdma_receive_one(&net->lanes[DSM_RDMA_REQUEST], buffer);
            return true;
        }
        if (atomic_exchange(&link->has_spoken_too_much, false)) {
            dsm_rdma_hello_broken(link, DSM_E_PROTO, "it went on before the answer to the hello");
            return true;
        }
    }
    return false;
}

void dsm_rdma_hello_mail(struct dsm_net *net)
{
    while (atomic_exchange(&net->has_mail, false))
        while (take_next_mail(net))
            ;
}
