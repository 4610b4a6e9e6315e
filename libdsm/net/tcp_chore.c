/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_chore.c - chores of the loop's thread, and the deadlines it watches. */
#include "net/tcp.h"
#include "base/clock.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stddef.h>

/* A reply lane that ended alone is waited for so long: the request lane's end, or farewell, is
 * somewhere in a buffer. */
#define HALF_GRACE_NS (1 * DSM_NS_PER_S)

void dsm_tcp_peer_watch(struct dsm_tcp_peer *peer)
{
    struct dsm_net *net = peer->conns[0].net;
    if (!peer->is_watched) {
        peer->is_watched = true;
        peer->next_watched = net->watched;
        net->watched = peer;
    }
    dsm_chores_start_ticking(&net->chores);
}

static void on_chores(uv_async_t *async)
{
    struct dsm_net *net = async->data;
    struct dsm_chore *next, *chore = dsm_chores_take(&net->chores);
    for (; chore; chore = next) {
        struct dsm_tcp_peer *peer =
            (void *)((uint8_t *)chore - offsetof(struct dsm_tcp_peer, chore));
        unsigned what;
        next = dsm_chore_done(chore, &what);
        if (what & DSM_TCP_CHORE_CONNECT)
            dsm_tcp_peer_connect(peer);
        if (what & DSM_TCP_CHORE_HALF_ENDED && !peer->half_ended_at_ns) {
            peer->half_ended_at_ns = dsm_clock_ns();
            dsm_tcp_peer_watch(peer);
        }
    }
}

/* True while the peer has a deadline. */
static bool peer_tick(struct dsm_tcp_peer *peer, uint64_t now_ns)
{
    char why[DSM_TCP_WHY_BYTES];
    bool is_waiting = false;
    if (atomic_load(&peer->ending) || atomic_load(&peer->conns_left) == 0)
        return false;
    switch (peer->state) {
    case DSM_TCP_CONNECTING:
    case DSM_TCP_YIELDED:
        is_waiting = now_ns < peer->deadline_ns;
        if (!is_waiting) {
            dsm_format(why, sizeof why, "no connection within %llu ms",
                       peer->conns[0].net->connect_timeout_ns / DSM_NS_PER_MS);
            dsm_tcp_peer_fail(peer, DSM_E_TIMEOUT, why);
        }
        break;
    case DSM_TCP_ACCEPTING:
        is_waiting = now_ns < peer->deadline_ns;
        if (!is_waiting)
            dsm_tcp_peer_unaccept(peer);
        break;
    case DSM_TCP_NONE:
    case DSM_TCP_UP:
        break;
    }
    if (peer->half_ended_at_ns && !atomic_load(&peer->has_left)) {
        if (now_ns < peer->half_ended_at_ns + HALF_GRACE_NS)
            return true;
        dsm_format(why, sizeof why,
                   "the reply lane ended, the request lane did not follow in %llu ms",
                   HALF_GRACE_NS / DSM_NS_PER_MS);
        dsm_tcp_peer_fail(peer, DSM_E_PEER, why);
    }
    return is_waiting;
}

static void on_tick(uv_timer_t *timer)
{
    struct dsm_net *net = timer->data;
    uint64_t now_ns = dsm_clock_ns();
    if (net->is_accept_paused)
        (void)dsm_tcp_listen_start(net);
    dsm_tcp_links_expire(net, now_ns);
    struct dsm_tcp_peer *peer = net->watched;
    net->watched = NULL;
    while (peer) {
        struct dsm_tcp_peer *next = peer->next_watched;
        peer->is_watched = false;
        if (peer_tick(peer, now_ns))
            dsm_tcp_peer_watch(peer);
        peer = next;
    }
    if (!net->links && !net->watched)
        dsm_chores_stop_ticking(&net->chores);
}

int dsm_tcp_chore_open(struct dsm_net *net)
{
    return dsm_chores_open(&net->chores, net->loop, net, on_chores, on_tick, &net->n_handles);
}
