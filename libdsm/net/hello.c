/* SPDX-License-Identifier: BSD-3-Clause */
/* hello.c - the hello's bytes and rules. */
#include "net/hello.h"
#include "base/bytes.h"
#include "base/log.h"
#include "hello.pb-c.h"
#include <dsm/dsm.h>
#include <string.h>
#include <unistd.h>

#define N_LANES 2

#define LOUD_REFUSALS 8u

struct dsm_hello dsm_hello_of(const struct dsm_hello_self *self, uint32_t to_rank, uint64_t attempt)
{
    struct dsm_hello hello = {
        .format_version = DSM_HELLO_FORMAT_VERSION,
        .rank = self->rank,
        .to_rank = to_rank,
        .n_ranks = self->n_ranks,
        .epoch = self->epoch,
        .page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
        .attempt = attempt,
    };
    memcpy(hello.token, self->token, sizeof hello.token);
    dsm_format(hello.build, sizeof hello.build, "%s", self->build);
    return hello;
}

void dsm_refusals_note(struct dsm_refusals *refusals, uint32_t self, const char *who, int error,
                       const char *why)
{
    uint64_t n = ++refusals->n;
    bool is_loud = error != DSM_E_PEER && strcmp(refusals->last, why) != 0 &&
                   (n <= LOUD_REFUSALS || (n & (n - 1)) == 0);
    dsm_format(refusals->last, sizeof refusals->last, "%s", why);
    dsm_log(is_loud ? DSM_LOG_WARN : DSM_LOG_INFO,
            "rank %u refused a connection from %s: %s (%lu refused so far)", self, who, why, n);
}

/* A text that may be printed as a part of one line. */
static bool is_text(const char *text, size_t room_bytes)
{
    size_t n = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++, n++)
        if (*c < ' ' || *c == 0x7f)
            return false;
    return n < room_bytes;
}

static void to_proto(const struct dsm_hello *hello, Dsm__Hello *out)
{
    dsm__hello__init(out);
    out->format_version = hello->format_version;
    out->token.data = (uint8_t *)(uintptr_t)hello->token;
    out->token.len = sizeof hello->token;
    out->rank = hello->rank;
    out->to_rank = hello->to_rank;
    out->n_ranks = hello->n_ranks;
    out->lane = hello->lane;
    out->epoch = hello->epoch;
    out->page_bytes = hello->page_bytes;
    out->attempt = hello->attempt;
    out->build = (char *)(uintptr_t)hello->build;
    out->memory_addr = hello->memory_addr;
    out->memory_bytes = hello->memory_bytes;
    out->credits = hello->credits;
    out->shared_namespace = hello->shared.pid_namespace;
    out->shared_pid = hello->shared.pid;
    out->shared_fd = hello->shared.fd;
    out->shared_nonce = hello->shared.nonce;
    out->memory_pid = hello->memory_file.pid;
    out->memory_fd = hello->memory_file.fd;
    out->memory_inode = hello->memory_file.inode;
    out->bell_pid = hello->bell.pid;
    out->bell_fd = hello->bell.fd;
    out->bell_inode = hello->bell.inode;
}

static const char *from_proto(const Dsm__Hello *in, struct dsm_hello *out)
{
    if (in->token.len != sizeof out->token)
        return "the token is not 16 bytes";
    if (!is_text(in->build, sizeof out->build))
        return "the build is too long or not printable";
    *out = (struct dsm_hello){
        .format_version = in->format_version,
        .rank = in->rank,
        .to_rank = in->to_rank,
        .n_ranks = in->n_ranks,
        .lane = in->lane,
        .epoch = in->epoch,
        .page_bytes = in->page_bytes,
        .attempt = in->attempt,
        .memory_addr = in->memory_addr,
        .memory_bytes = in->memory_bytes,
        .credits = in->credits,
        .shared = {in->shared_namespace, in->shared_pid, in->shared_fd, in->shared_nonce},
        .memory_file = {in->memory_pid, in->memory_fd, in->memory_inode},
        .bell = {in->bell_pid, in->bell_fd, in->bell_inode},
    };
    memcpy(out->token, in->token.data, sizeof out->token);
    dsm_format(out->build, sizeof out->build, "%s", in->build);
    return NULL;
}

size_t dsm_hello_pack(const struct dsm_hello *hello, uint8_t out[DSM_HELLO_PACKET_BYTES])
{
    Dsm__Hello message;
    to_proto(hello, &message);
    size_t len_bytes = dsm__hello__pack(&message, out + DSM_HELLO_PREFIX_BYTES);
    dsm_put_u32(out, (uint32_t)len_bytes);
    return DSM_HELLO_PREFIX_BYTES + len_bytes;
}

size_t dsm_hello_pack_answer(const struct dsm_hello_answer *answer,
                             uint8_t out[DSM_HELLO_PACKET_BYTES])
{
    Dsm__HelloAnswer message;
    Dsm__Hello hello;
    dsm__hello_answer__init(&message);
    message.status = (Dsm__HelloAnswer__Status)answer->status;
    if (answer->status == DSM_HELLO_REFUSED) {
        message.error = answer->error;
        message.reason = (char *)(uintptr_t)answer->reason;
    }
    if (answer->status == DSM_HELLO_ACCEPTED) {
        to_proto(&answer->hello, &hello);
        message.hello = &hello;
    }
    size_t len_bytes = dsm__hello_answer__pack(&message, out + DSM_HELLO_PREFIX_BYTES);
    dsm_put_u32(out, (uint32_t)len_bytes);
    return DSM_HELLO_PREFIX_BYTES + len_bytes;
}

int dsm_hello_unpack(const uint8_t *bytes, size_t len_bytes, struct dsm_hello *hello_out,
                     const char **reason_out)
{
    Dsm__Hello *message = dsm__hello__unpack(NULL, len_bytes, bytes);
    if (!message) {
        *reason_out = "it does not parse";
        return DSM_E_PROTO;
    }
    *reason_out = from_proto(message, hello_out);
    dsm__hello__free_unpacked(message, NULL);
    return *reason_out ? DSM_E_PROTO : 0;
}

static const char *answer_from_proto(const Dsm__HelloAnswer *in, struct dsm_hello_answer *out)
{
    switch (in->status) {
    case DSM__HELLO_ANSWER__STATUS__ACCEPTED:
        out->status = DSM_HELLO_ACCEPTED;
        return in->hello ? from_proto(in->hello, &out->hello) : "accepted without a hello";
    case DSM__HELLO_ANSWER__STATUS__REFUSED:
        if (in->error >= 0 || !is_text(in->reason, sizeof out->reason))
            return "refused without a proper reason";
        out->status = DSM_HELLO_REFUSED;
        out->error = in->error;
        dsm_format(out->reason, sizeof out->reason, "%s", in->reason);
        return NULL;
    case DSM__HELLO_ANSWER__STATUS__YIELD:
        out->status = DSM_HELLO_YIELD;
        return NULL;
    default: /* protobuf keeps numbers that it does not know */
        return "unknown status";
    }
}

int dsm_hello_unpack_answer(const uint8_t *bytes, size_t len_bytes,
                            struct dsm_hello_answer *answer_out, const char **reason_out)
{
    Dsm__HelloAnswer *message = dsm__hello_answer__unpack(NULL, len_bytes, bytes);
    if (!message) {
        *reason_out = "it does not parse";
        return DSM_E_PROTO;
    }
    struct dsm_hello_answer answer = {0};
    *reason_out = answer_from_proto(message, &answer);
    dsm__hello_answer__free_unpacked(message, NULL);
    if (*reason_out)
        return DSM_E_PROTO;
    *answer_out = answer;
    return 0;
}

/* Takes as long whatever differs, so that a token cannot be guessed byte by byte. */
static bool is_same_token(const uint8_t a[16], const uint8_t b[16])
{
    volatile uint8_t differs = 0;
    for (int i = 0; i < 16; i++)
        differs = (uint8_t)(differs | (a[i] ^ b[i]));
    return differs == 0;
}

int dsm_hello_check(const struct dsm_hello *mine, const struct dsm_hello *theirs, char *why,
                    size_t why_bytes)
{
    if (!is_same_token(mine->token, theirs->token)) {
        dsm_format(why, why_bytes, "wrong job token");
        return DSM_E_AUTH;
    }
    if (theirs->format_version != mine->format_version)
        dsm_format(why, why_bytes, "frame format: rank %u has version %u, rank %u version %u",
                   theirs->rank, theirs->format_version, mine->rank, mine->format_version);
    else if (strcmp(theirs->build, mine->build) != 0)
        dsm_format(why, why_bytes, "builds differ: rank %u has \"%s\", rank %u \"%s\"",
                   theirs->rank, theirs->build, mine->rank, mine->build);
    else if (theirs->page_bytes != mine->page_bytes)
        dsm_format(why, why_bytes, "page sizes differ: rank %u has %u bytes, rank %u %u",
                   theirs->rank, theirs->page_bytes, mine->rank, mine->page_bytes);
    else if (theirs->n_ranks != mine->n_ranks)
        dsm_format(why, why_bytes, "job sizes differ: rank %u has %u ranks, rank %u %u",
                   theirs->rank, theirs->n_ranks, mine->rank, mine->n_ranks);
    else if (theirs->epoch != mine->epoch)
        dsm_format(why, why_bytes, "epochs differ: rank %u is in %u, rank %u in %u", theirs->rank,
                   theirs->epoch, mine->rank, mine->epoch);
    else if (theirs->rank >= mine->n_ranks)
        dsm_format(why, why_bytes, "it says rank %u, the job has 0 to %u", theirs->rank,
                   mine->n_ranks - 1);
    else if (theirs->rank == mine->rank)
        dsm_format(why, why_bytes, "it says rank %u, which is this rank", theirs->rank);
    else if (theirs->to_rank != mine->rank)
        dsm_format(why, why_bytes, "rank %u wants rank %u, this is rank %u", theirs->rank,
                   theirs->to_rank, mine->rank);
    else if (theirs->lane >= N_LANES)
        dsm_format(why, why_bytes, "it says lane %u, there are 0 and 1", theirs->lane);
    else
        return 0;
    return DSM_E_MISMATCH;
}
