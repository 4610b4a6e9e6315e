/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_cm.c - links: rdma_cm's events, and queue pairs up and down. All of it runs on the loop's
 * thread.
 *
 * Queue pairs are made here and moved by hand with the attributes that rdma_cm gives for the first;
 * the second takes the same with its own numbers. Until the hello has been accepted peers may not
 * write to our memory on them.
 */
#define _GNU_SOURCE
#include "net/rdma.h"
#include "net/address.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/rng.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define LISTEN_BACKLOG 1024
/* Links that have not said who they are: what all peers can need, and some. */
#define SPARE_STRANGERS 32u
/* How long a queue pair waits for an acknowledgement: 4.096 us << this, 1.07 s, and how often. */
#define ACK_TIMEOUT_EXPONENT 18
#define RETRIES              7
/* Receivers never run dry by design (rdma.h), so this is a net below the rope: tries for ever. */
#define RECEIVER_NOT_READY_RETRIES 7
#define RECEIVER_NOT_READY_TIMER   12 /* 0.64 ms */
#define PSN_MASK                   0xffffffu

/* In the private data of both directions. */
#define IDENT_MAGIC 0x314d5344u /* "DSM1" */
struct ident {
    uint8_t magic[4];
    uint8_t qp_number[4]; /* of the second pair */
    uint8_t psn[4];
    uint8_t mtu;
    uint8_t reserved[3];
};

static void say_ident(const struct dsm_rdma_link *link, struct ident *out)
{
    memset(out, 0, sizeof *out);
    dsm_put_u32(out->magic, IDENT_MAGIC);
    dsm_put_u32(out->qp_number, link->qps[DSM_RDMA_REPLY].number);
    dsm_put_u32(out->psn, link->psn);
    out->mtu = (uint8_t)link->net->place.mtu;
}

/* ---- queue pairs ---- */

static struct dsm_rdma_qp **bucket(struct dsm_net *net, uint32_t number)
{
    return &net->by_qp[(number * 2654435761u >> 8) & net->by_qp_mask];
}

struct dsm_rdma_qp *dsm_rdma_qp_find(struct dsm_net *net, uint32_t number)
{
    struct dsm_rdma_qp *qp = *bucket(net, number);
    while (qp && qp->number != number)
        qp = qp->next;
    return qp;
}

static void lock_lanes(struct dsm_net *net)
{
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
        dsm_mutex_lock(&net->lanes[lane].cq.lock);
}

static void unlock_lanes(struct dsm_net *net)
{
    for (unsigned lane = DSM_RDMA_LANES; lane-- > 0;)
        dsm_mutex_unlock(&net->lanes[lane].cq.lock);
}

/* 0 or an errno. */
static int make_qp(struct dsm_rdma_link *link, unsigned lane)
{
    struct dsm_net *net = link->net;
    struct dsm_rdma_qp *qp = &link->qps[lane];
    struct ibv_qp_init_attr attr = {
        .send_cq = net->sends.cq,
        .recv_cq = net->lanes[lane].cq.cq,
        .srq = net->lanes[lane].srq,
        .cap = {.max_send_wr = net->depth + DSM_RDMA_LINK_REQUESTS,
                .max_send_sge = 1,
                .max_inline_data = net->inline_bytes},
        .qp_type = IBV_QPT_RC,
    };
    qp->qp = ibv_create_qp(net->pd, &attr);
    if (!qp->qp && net->inline_bytes) { /* a device that sends nothing inline, or less */
        net->inline_bytes = attr.cap.max_inline_data = 0;
        qp->qp = ibv_create_qp(net->pd, &attr);
    }
    if (!qp->qp)
        return errno ? errno : ENOMEM;
    qp->link = link;
    qp->lane = lane;
    qp->number = qp->qp->qp_num;
    return 0;
}

static int make_qps(struct dsm_rdma_link *link)
{
    link->psn = (uint32_t)dsm_rng_next(&link->net->rng) & PSN_MASK;
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        int number = make_qp(link, lane);
        if (number)
            return number;
    }
    lock_lanes(link->net);
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        struct dsm_rdma_qp *qp = &link->qps[lane], **at = bucket(link->net, qp->number);
        qp->next = *at;
        qp->is_in_table = true;
        *at = qp;
    }
    unlock_lanes(link->net);
    return 0;
}

/* Both pairs to one state; theirs: the second pair's numbers at the other end. 0 or an errno. */
static int move_qps(struct dsm_rdma_link *link, enum ibv_qp_state state, const struct ident *theirs)
{
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        struct ibv_qp_attr attr = {.qp_state = state};
        int mask = 0;
        if (rdma_init_qp_attr(link->id, &attr, &mask))
            return errno;
        if (mask & IBV_QP_ACCESS_FLAGS)
            attr.qp_access_flags = 0;
        if (mask & IBV_QP_PATH_MTU && attr.path_mtu > (enum ibv_mtu)link->mtu)
            attr.path_mtu = (enum ibv_mtu)link->mtu;
        if (mask & IBV_QP_TIMEOUT)
            attr.timeout = ACK_TIMEOUT_EXPONENT;
        if (mask & IBV_QP_MIN_RNR_TIMER)
            attr.min_rnr_timer = RECEIVER_NOT_READY_TIMER;
        if (lane == DSM_RDMA_REPLY && mask & IBV_QP_DEST_QPN)
            attr.dest_qp_num = dsm_get_u32(theirs->qp_number);
        if (lane == DSM_RDMA_REPLY && mask & IBV_QP_RQ_PSN)
            attr.rq_psn = dsm_get_u32(theirs->psn) & PSN_MASK;
        if (lane == DSM_RDMA_REPLY && mask & IBV_QP_SQ_PSN)
            attr.sq_psn = link->psn;
        int number = ibv_modify_qp(link->qps[lane].qp, &attr, mask);
        if (number)
            return number;
    }
    return 0;
}

static int start_qps(struct dsm_rdma_link *link, const struct ident *theirs)
{
    static const enum ibv_qp_state states[] = {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS};
    int number = 0;
    if (theirs->mtu < link->mtu)
        link->mtu = theirs->mtu;
    for (unsigned i = 0; i < 3 && !number; i++)
        number = move_qps(link, states[i], theirs);
    return number;
}

int dsm_rdma_link_trust(struct dsm_rdma_link *link)
{
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        struct ibv_qp_attr attr = {.qp_access_flags = IBV_ACCESS_REMOTE_WRITE};
        int number = ibv_modify_qp(link->qps[lane].qp, &attr, IBV_QP_ACCESS_FLAGS);
        if (number) {
            dsm_log(DSM_LOG_ERROR, "rdma: %s does not let peers write: %s", link->net->place.device,
                    strerrordesc_np(number));
            return dsm_error_from_errno(number);
        }
    }
    return 0;
}

/* A message for the loop's thread that nobody wants any more. */
static void throw_mail_away(struct dsm_rdma_link *link)
{
    struct dsm_rdma_buffer *buffer = atomic_exchange(&link->mail, NULL);
    if (buffer)
        dsm_rdma_receive_one(&link->net->lanes[DSM_RDMA_REQUEST], buffer);
}

void dsm_rdma_link_quiesce(struct dsm_rdma_link *link)
{
    struct dsm_net *net = link->net;
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
        if (link->qps[lane].qp)
            (void)ibv_modify_qp(link->qps[lane].qp, &attr, IBV_QP_STATE);
    /* What has arrived is complete now. A provider may forget completions of a pair that goes, and
     * with them the buffers they stand for, so they are read before. */
    dsm_rdma_read_all(net);
    if (link->state == DSM_RDMA_LINK_UP)
        for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++)
            dsm_rdma_tx_down(&link->peer->conns[lane]);
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        if (link->qps[lane].qp)
            (void)ibv_destroy_qp(link->qps[lane].qp);
        link->qps[lane].qp = NULL;
    }
    /* Another keeps them: here for the last time they name this link. */
    while (dsm_rdma_reap(net, true))
        ;
    dsm_rdma_read_all(net);
    lock_lanes(net);
    for (unsigned lane = 0; lane < DSM_RDMA_LANES; lane++) {
        struct dsm_rdma_qp *qp = &link->qps[lane], **at = bucket(net, qp->number);
        if (!qp->is_in_table)
            continue;
        while (*at != qp)
            at = &(*at)->next;
        *at = qp->next;
        qp->is_in_table = false;
    }
    unlock_lanes(net);
    throw_mail_away(link);
    for (unsigned i = 0; i < 2; i++) {
        if (link->said[i])
            dsm_rdma_buffer_give(net, link->said[i]);
        link->said[i] = NULL;
    }
}

/* ---- links ---- */

static struct dsm_rdma_link *link_new(struct dsm_net *net, enum dsm_rdma_link_state state)
{
    struct dsm_rdma_link *link = aligned_alloc(64, DSM_ALIGN_UP(sizeof *link, 64ul));
    if (!link)
        return NULL;
    memset(link, 0, sizeof *link);
    link->net = net;
    link->state = state;
    link->mtu = (uint8_t)net->place.mtu;
    link->deadline_ns = dsm_clock_ns() + net->connect_timeout_ns;
    atomic_init(&link->mail_state, DSM_RDMA_MAIL_AWAITED);
    link->next = net->links;
    net->links = link;
    net->n_strangers++; /* until it has a peer */
    dsm_chores_start_ticking(&net->chores);
    return link;
}

void dsm_rdma_link_close(struct dsm_rdma_link *link)
{
    struct dsm_net *net = link->net;
    struct dsm_rdma_link **at = &net->links;
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    if (!link->peer)
        net->n_strangers--;
    else if (link->peer->link == link)
        link->peer->link = NULL;
    dsm_rdma_link_quiesce(link);
    if (link->is_connected)
        (void)rdma_disconnect(link->id);
    if (link->id)
        (void)rdma_destroy_id(link->id);
    free(link);
}

static void link_set_who(struct dsm_rdma_link *link, const struct sockaddr *address)
{
    dsm_address_text(address, sizeof(struct sockaddr_in), link->who, sizeof link->who);
}

/* ---- the side that connects ---- */

static void attempt_failed(struct dsm_rdma_link *link, const char *what, int number)
{
    char why[DSM_RDMA_WHY_BYTES];
    dsm_format(why, sizeof why, "%s: %s", what, strerrordesc_np(number < 0 ? -number : number));
    dsm_rdma_hello_broken(link, number == -ETIMEDOUT ? DSM_E_TIMEOUT : DSM_E_CONNECT, why);
}

static int left_ms(const struct dsm_rdma_link *link)
{
    uint64_t now_ns = dsm_clock_ns();
    return now_ns < link->deadline_ns ? (int)((link->deadline_ns - now_ns) / DSM_NS_PER_MS) + 1 : 1;
}

void dsm_rdma_link_connect(struct dsm_rdma_peer *peer)
{
    struct dsm_net *net = peer->conns[0].net;
    struct dsm_rdma_link *link = link_new(net, DSM_RDMA_LINK_RESOLVING);
    if (!link) {
        dsm_rdma_peer_fail(peer, DSM_E_NOMEM, "out of memory");
        return;
    }
    struct sockaddr_in source = net->place.address;
    source.sin_port = 0;
    link->is_ours = true;
    link->peer = peer;
    net->n_strangers--;
    peer->link = link;
    link_set_who(link, (struct sockaddr *)&peer->address);
    if (rdma_create_id(net->cm, &link->id, link, RDMA_PS_TCP) ||
        rdma_resolve_addr(link->id, (struct sockaddr *)&source, (struct sockaddr *)&peer->address,
                          left_ms(link)))
        attempt_failed(link, "no way to that address from here", errno);
}

static void on_resolved(struct dsm_rdma_link *link)
{
    link->state = DSM_RDMA_LINK_ROUTING;
    if (rdma_resolve_route(link->id, left_ms(link)))
        attempt_failed(link, "no route", errno);
}

static struct rdma_conn_param connection(const struct dsm_rdma_link *link,
                                         const struct ident *ident)
{
    return (struct rdma_conn_param){
        .private_data = ident,
        .private_data_len = sizeof *ident,
        .responder_resources = 1,
        .initiator_depth = 1,
        .retry_count = RETRIES,
        .rnr_retry_count = RECEIVER_NOT_READY_RETRIES,
        .srq = 1,
        .qp_num = link->qps[DSM_RDMA_REQUEST].number,
    };
}

static void on_routed(struct dsm_rdma_link *link)
{
    struct dsm_net *net = link->net;
    struct ident ident;
    if (link->id->verbs != net->verbs) {
        char why[DSM_RDMA_WHY_BYTES];
        dsm_format(why, sizeof why, "the way there is through %s, not %s",
                   ibv_get_device_name(link->id->verbs->device), net->place.device);
        dsm_rdma_hello_broken(link, DSM_E_CONNECT, why);
        return;
    }
    int number = make_qps(link);
    if (number) {
        attempt_failed(link, "no queue pair", number);
        return;
    }
    link->state = DSM_RDMA_LINK_CONNECTING;
    say_ident(link, &ident);
    struct rdma_conn_param param = connection(link, &ident);
    if (rdma_connect(link->id, &param))
        attempt_failed(link, "cannot connect", errno);
}

static bool read_ident(const struct rdma_cm_event *event, struct ident *out)
{
    if (!event->param.conn.private_data || event->param.conn.private_data_len < sizeof *out)
        return false;
    memcpy(out, event->param.conn.private_data, sizeof *out);
    return dsm_get_u32(out->magic) == IDENT_MAGIC && out->mtu >= IBV_MTU_256 &&
           out->mtu <= IBV_MTU_4096;
}

static void on_response(struct dsm_rdma_link *link, const struct ident *theirs)
{
    if (!theirs) {
        dsm_rdma_hello_broken(link, DSM_E_PROTO, "it does not answer like a rank");
        return;
    }
    int number = start_qps(link, theirs);
    if (!number && rdma_establish(link->id))
        number = errno;
    if (number) {
        attempt_failed(link, "the queue pairs do not start", number);
        return;
    }
    link->is_connected = true;
    link->state = DSM_RDMA_LINK_AWAITS_ANSWER;
    dsm_rdma_hello_say(link);
}

/* ---- the side that is connected to ---- */

static void shed_a_stranger(struct dsm_net *net)
{
    struct dsm_rdma_link *oldest = NULL;
    for (struct dsm_rdma_link *link = net->links; link; link = link->next)
        oldest = link->peer ? oldest : link;
    if (!oldest)
        return;
    dsm_refusals_note(&net->refusals, net->self, oldest->who, DSM_E_LIMIT,
                      "too many connections that have not said hello");
    dsm_rdma_link_close(oldest);
}

static void turn_away(struct dsm_net *net, struct rdma_cm_id *id, const char *why)
{
    struct dsm_rdma_link who;
    link_set_who(&who, rdma_get_peer_addr(id));
    dsm_refusals_note(&net->refusals, net->self, who.who, DSM_E_PROTO, why);
    (void)rdma_reject(id, NULL, 0);
    (void)rdma_destroy_id(id);
}

static void on_request(struct dsm_net *net, struct rdma_cm_id *id, const struct ident *theirs)
{
    struct ident ours;
    if (!theirs) {
        turn_away(net, id, "it does not speak as a rank does");
        return;
    }
    if (net->n_strangers >= net->n_ranks + SPARE_STRANGERS)
        shed_a_stranger(net);
    struct dsm_rdma_link *link = link_new(net, DSM_RDMA_LINK_ACCEPTING);
    if (!link) {
        turn_away(net, id, "out of memory");
        return;
    }
    link->id = id;
    id->context = link;
    link_set_who(link, rdma_get_peer_addr(id));
    int number = id->verbs == net->verbs ? make_qps(link) : ENODEV;
    if (!number)
        number = start_qps(link, theirs);
    if (!number) {
        say_ident(link, &ours);
        struct rdma_conn_param param = connection(link, &ours);
        if (rdma_accept(id, &param))
            number = errno;
    }
    if (number) {
        char why[DSM_RDMA_WHY_BYTES];
        dsm_format(why, sizeof why, "the queue pairs do not start: %s", strerrordesc_np(number));
        (void)rdma_reject(id, NULL, 0);
        /* EINVAL: it is gone again, as when two connect at once. */
        link->state = DSM_RDMA_LINK_AWAITS_HELLO;
        dsm_rdma_hello_broken(link, number == EINVAL ? DSM_E_CONNECT : DSM_E_SYSTEM, why);
        return;
    }
    /* The hello may be there before the event that says that the connection is. */
    link->is_connected = true;
    link->state = DSM_RDMA_LINK_AWAITS_HELLO;
}

/* ---- events ---- */

/* Of an attempt that came to nothing; status is a negative errno, or the reason of a rejection. */
static void on_failure(struct dsm_rdma_link *link, enum rdma_cm_event_type type, int status)
{
    char why[DSM_RDMA_WHY_BYTES];
    if (type == RDMA_CM_EVENT_REJECTED) {
        const int nobody_listens = 8; /* the consortium's code: no such service */
        if (status == nobody_listens)
            dsm_format(why, sizeof why, "Connection refused (nobody listens there)");
        else
            dsm_format(why, sizeof why, "Connection refused (code %d)", status);
        dsm_rdma_hello_broken(link, DSM_E_CONNECT, why);
        return;
    }
    const char *what = type == RDMA_CM_EVENT_ADDR_ERROR    ? "no way to that address from here"
                       : type == RDMA_CM_EVENT_ROUTE_ERROR ? "no route"
                                                           : "cannot connect";
    attempt_failed(link, what, status ? status : EHOSTUNREACH);
}

static void on_disconnected(struct dsm_rdma_link *link)
{
    if (link->state == DSM_RDMA_LINK_UP) {
        char why[DSM_RDMA_WHY_BYTES];
        const struct dsm_rdma_conn *conns = link->peer->conns;
        dsm_format(why, sizeof why,
                   "rank %u is gone: closed by the peer, after %lu messages received and %lu "
                   "frames sent",
                   link->peer->rank, conns[0].rx.n_messages + conns[1].rx.n_messages,
                   conns[0].tx.n_frames + conns[1].tx.n_frames);
        dsm_rdma_peer_fail(link->peer, DSM_E_PEER, why);
    } else {
        /* Its answer may have come, and lie there unread. */
        dsm_rdma_read_all(link->net);
        dsm_rdma_hello_mail(link->net);
        for (struct dsm_rdma_link *at = link->net->links; at; at = at->next) {
            if (at == link) {
                dsm_rdma_hello_broken(link, DSM_E_CONNECT, "closed before the hello was said");
                return;
            }
        }
    }
}

static void on_event(struct dsm_net *net, enum rdma_cm_event_type type, int status,
                     struct rdma_cm_id *id, const struct ident *ident)
{
    struct dsm_rdma_link *link = id->context;
    switch (type) {
    case RDMA_CM_EVENT_CONNECT_REQUEST:
        on_request(net, id, ident);
        break;
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        on_resolved(link);
        break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
        on_routed(link);
        break;
    case RDMA_CM_EVENT_CONNECT_RESPONSE:
        on_response(link, ident);
        break;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_REJECTED:
        /* A peer that hangs up before it knows that the connection stands rejects it. */
        if (link && type == RDMA_CM_EVENT_REJECTED && link->is_connected)
            on_disconnected(link);
        else if (link)
            on_failure(link, type, status);
        break;
    case RDMA_CM_EVENT_DISCONNECTED:
        if (link)
            on_disconnected(link);
        break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        dsm_rdma_device_gone(net, "it was removed");
        break;
    case RDMA_CM_EVENT_ESTABLISHED:
    case RDMA_CM_EVENT_MULTICAST_JOIN:
    case RDMA_CM_EVENT_MULTICAST_ERROR:
    case RDMA_CM_EVENT_ADDR_CHANGE:
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
        break;
    }
}

static void on_cm_events(uv_poll_t *watch, int uv_status, int uv_events)
{
    struct dsm_net *net = watch->data;
    struct rdma_cm_event *event;
    (void)uv_status;
    (void)uv_events;
    int before = dsm_rdma_enter();
    while (!net->is_closing && !rdma_get_cm_event(net->cm, &event)) {
        /* An id cannot go while an event of it is out, so this one is copied and given back. */
        enum rdma_cm_event_type type = event->event;
        struct rdma_cm_id *id = event->id;
        struct ident ident;
        int status = event->status;
        bool has_ident =
            (type == RDMA_CM_EVENT_CONNECT_REQUEST || type == RDMA_CM_EVENT_CONNECT_RESPONSE) &&
            read_ident(event, &ident);
        if (type == RDMA_CM_EVENT_CONNECT_REQUEST)
            id->context = NULL; /* the listener's */
        (void)rdma_ack_cm_event(event);
        on_event(net, type, status, id, has_ident ? &ident : NULL);
    }
    dsm_rdma_leave(before);
    dsm_rdma_flush(net);
}

void dsm_rdma_cm_drain(struct dsm_net *net)
{
    struct rdma_cm_event *event;
    while (!rdma_get_cm_event(net->cm, &event)) {
        struct rdma_cm_id *id = event->id;
        const struct dsm_rdma_link *link = id == net->listener ? NULL : id->context;
        bool is_new = event->event == RDMA_CM_EVENT_CONNECT_REQUEST;
        bool is_end =
            event->event == RDMA_CM_EVENT_DISCONNECTED || event->event == RDMA_CM_EVENT_REJECTED;
        (void)rdma_ack_cm_event(event);
        if (is_new) {
            (void)rdma_reject(id, NULL, 0);
            (void)rdma_destroy_id(id);
        } else if (is_end && link && link->peer) {
            atomic_store(&link->peer->is_losing, true); /* nobody is there to get the rest */
        }
    }
}

void dsm_rdma_qp_failed(struct dsm_net *net, uint32_t number, const char *why)
{
    const struct dsm_rdma_qp *qp = dsm_rdma_qp_find(net, number); /* this thread alone changes it */
    char line[DSM_RDMA_WHY_BYTES];
    if (!qp || qp->link->state != DSM_RDMA_LINK_UP)
        return; /* its deadline, or the other end */
    dsm_format(line, sizeof line, "rank %u is gone: %s lane: %s", qp->link->peer->rank,
               dsm_rdma_lane_name(qp->lane), why);
    dsm_rdma_peer_break(qp->link->peer, DSM_E_PEER, line);
}

/* ---- listening ---- */

int dsm_rdma_cm_open(struct dsm_net *net)
{
    struct sockaddr_in address = net->place.address;
    char host[INET_ADDRSTRLEN];
    net->cm = rdma_create_event_channel();
    if (!net->cm) {
        dsm_log(DSM_LOG_ERROR, "rdma: no connection manager (module rdma_ucm): %s",
                strerrordesc_np(errno));
        return DSM_E_UNSUPPORTED;
    }
    int flags = fcntl(net->cm->fd, F_GETFL);
    if (flags < 0 || fcntl(net->cm->fd, F_SETFL, flags | O_NONBLOCK))
        return dsm_error_from_errno(errno);
    (void)inet_ntop(AF_INET, &address.sin_addr, host, sizeof host);
    if (rdma_create_id(net->cm, &net->listener, NULL, RDMA_PS_TCP) ||
        rdma_bind_addr(net->listener, (struct sockaddr *)&address) ||
        rdma_listen(net->listener, LISTEN_BACKLOG)) {
        dsm_log(DSM_LOG_ERROR, "rdma: cannot listen on %s of %s: %s", host, net->place.device,
                strerrordesc_np(errno));
        return DSM_E_SYSTEM;
    }
    net->verbs = net->listener->verbs;
    dsm_format(net->address, sizeof net->address, "%s:%u", host,
               ntohs(rdma_get_src_port(net->listener)));
    if (!net->verbs || strcmp(ibv_get_device_name(net->verbs->device), net->place.device) != 0) {
        dsm_log(DSM_LOG_ERROR, "rdma: %s is an address of %s, not of %s", host,
                net->verbs ? ibv_get_device_name(net->verbs->device) : "no device",
                net->place.device);
        return DSM_E_INVAL;
    }
    uint32_t n_buckets = 64;
    while (n_buckets < 4 * net->n_ranks)
        n_buckets *= 2;
    net->by_qp = calloc(n_buckets, sizeof *net->by_qp);
    net->by_qp_mask = n_buckets - 1;
    return net->by_qp ? 0 : DSM_E_NOMEM;
}

int dsm_rdma_cm_start(struct dsm_net *net)
{
    return uv_poll_start(&net->cm_watch, UV_READABLE, on_cm_events) ? DSM_E_SYSTEM : 0;
}

void dsm_rdma_cm_close(struct dsm_net *net)
{
    if (net->listener)
        (void)rdma_destroy_id(net->listener);
    if (net->cm)
        rdma_destroy_event_channel(net->cm);
    net->listener = NULL;
    net->cm = NULL;
    free(net->by_qp);
    net->by_qp = NULL;
}
