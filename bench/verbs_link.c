/* SPDX-License-Identifier: BSD-3-Clause */
/* verbs_link.c - see verbs_link.h. */
#define _GNU_SOURCE
#include "bench/verbs_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/parse.h"
#include "net/rdma.h"

#define CONNECT_TIMEOUT_MS 20000
#define INLINE_BYTES       64u
#define RETRIES            7u

/* What rank 0 tells the others, so that nobody else is taken for rank 1. */
struct invitation {
    uint32_t address, port; /* in network and in host order; port 0: nobody listens */
    uint8_t nonce[16];
};

/* What each end tells the other when they connect. */
struct ident {
    uint8_t nonce[16];
    uint64_t memory;
    uint32_t key;
};

static int fail(const char *what)
{
    fprintf(stderr, "dsm-bench: raw verbs: %s: %s\n", what, strerror(errno));
    return DSM_E_SYSTEM;
}

/* As the library chose: by the same rules, from the same variables, which it has checked. */
static int choose_place(struct dsm_rdma_place *out)
{
    struct dsm_net_rdma_config config = {.device = getenv("DSM_RDMA_DEVICE")};
    const char *port = getenv("DSM_RDMA_PORT"), *gid_index = getenv("DSM_RDMA_GID_INDEX");
    uint64_t value;

    if (port != NULL && dsm_parse_u64(port, 0, UINT32_MAX, &value) == 0)
        config.port = (uint32_t)value;
    if (gid_index != NULL && dsm_parse_u64(gid_index, 0, UINT32_MAX, &value) == 0) {
        config.has_gid_index = true;
        config.gid_index = (uint32_t)value;
    }
    return dsm_rdma_place_choose(&config, getenv("DSM_LISTEN"), out);
}

/* ---- an end's queues and memory -------------------------------------------------------------- */

int bench_verbs_receive(struct bench_verbs_end *end, uint64_t number)
{
    struct ibv_sge sge = {(uintptr_t)end->memory + BENCH_VERBS_RECEIVE_AT +
                              number * BENCH_PAGE_BYTES,
                          BENCH_PAGE_BYTES, end->mr->lkey};
    struct ibv_recv_wr wr = {.wr_id = number, .sg_list = &sge, .num_sge = 1}, *bad;

    return ibv_post_recv(end->id->qp, &wr, &bad) == 0 ? 0 : DSM_E_PEER;
}

/* id has a device: its address is known, or a connection came in on it. */
static int open_end(struct bench_verbs_end *end)
{
    struct ibv_qp_init_attr attr = {.cap = {.max_send_wr = BENCH_VERBS_DEPTH,
                                            .max_recv_wr = BENCH_VERBS_RECEIVES,
                                            .max_send_sge = 1,
                                            .max_recv_sge = 1,
                                            .max_inline_data = INLINE_BYTES},
                                    .qp_type = IBV_QPT_RC};
    struct ibv_context *verbs = end->id->verbs;

    end->channel = ibv_create_comp_channel(verbs);
    if (end->channel == NULL)
        return fail("completion channel");
    end->received = ibv_create_cq(verbs, BENCH_VERBS_RECEIVES, NULL, end->channel, 0);
    end->sent = ibv_create_cq(verbs, BENCH_VERBS_DEPTH, NULL, NULL, 0);
    if (end->received == NULL || end->sent == NULL)
        return fail("completion queue");
    end->pd = ibv_alloc_pd(verbs);
    if (end->pd == NULL)
        return fail("protection domain");
    attr.recv_cq = end->received;
    attr.send_cq = end->sent;
    if (rdma_create_qp(end->id, end->pd, &attr) != 0)
        return fail("queue pair");
    end->inline_bytes = attr.cap.max_inline_data;
    end->memory = mmap(NULL, BENCH_VERBS_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (end->memory == MAP_FAILED) {
        end->memory = NULL;
        return fail("memory");
    }
    end->mr = ibv_reg_mr(end->pd, end->memory, BENCH_VERBS_BYTES,
                         IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
    if (end->mr == NULL)
        return fail("registering memory (ulimit -l)");
    for (uint64_t i = 0; i < BENCH_VERBS_RECEIVES; i++)
        if (bench_verbs_receive(end, i) != 0)
            return fail("posting receives");
    return 0;
}

static void close_end(struct bench_verbs_end *end)
{
    if (end->id != NULL && end->id->qp != NULL)
        rdma_destroy_qp(end->id);
    if (end->mr != NULL)
        (void)ibv_dereg_mr(end->mr);
    if (end->pd != NULL)
        (void)ibv_dealloc_pd(end->pd);
    if (end->received != NULL)
        (void)ibv_destroy_cq(end->received);
    if (end->sent != NULL)
        (void)ibv_destroy_cq(end->sent);
    if (end->channel != NULL)
        (void)ibv_destroy_comp_channel(end->channel);
    if (end->id != NULL)
        (void)rdma_destroy_id(end->id);
    if (end->memory != NULL)
        (void)munmap(end->memory, BENCH_VERBS_BYTES);
    *end = (struct bench_verbs_end){0};
}

static struct ident ident_of(const struct bench_verbs_end *end, const struct invitation *invitation)
{
    struct ident ident = {.memory = (uintptr_t)end->memory, .key = end->mr->rkey};

    memcpy(ident.nonce, invitation->nonce, sizeof ident.nonce);
    return ident;
}

/* Whether it is the other rank; then its memory is known. */
static bool take_ident(struct bench_verbs_end *end, const struct rdma_cm_event *event,
                       const struct invitation *invitation)
{
    const struct rdma_conn_param *param = &event->param.conn;
    struct ident ident;

    if (param->private_data == NULL || param->private_data_len < sizeof ident)
        return false;
    memcpy(&ident, param->private_data, sizeof ident);
    end->peer_memory = ident.memory;
    end->peer_key = ident.key;
    return memcmp(ident.nonce, invitation->nonce, sizeof ident.nonce) == 0;
}

/* ---- connecting; every call on these ids waits for its outcome ------------------------------- */

static struct rdma_conn_param parameters(const struct ident *ident)
{
    return (struct rdma_conn_param){.private_data = ident,
                                    .private_data_len = sizeof *ident,
                                    .responder_resources = 1,
                                    .initiator_depth = 1,
                                    .retry_count = RETRIES,
                                    .rnr_retry_count = RETRIES};
}

static int listen_here(struct bench_verbs *verbs, struct invitation *invitation)
{
    struct dsm_rdma_place place;
    struct sockaddr_in address = {.sin_family = AF_INET};

    if (choose_place(&place) != 0)
        return DSM_E_UNSUPPORTED; /* told */
    address.sin_addr = place.address.sin_addr;
    if (rdma_create_id(NULL, &verbs->listener, NULL, RDMA_PS_TCP) != 0 ||
        rdma_bind_addr(verbs->listener, (struct sockaddr *)&address) != 0 ||
        rdma_listen(verbs->listener, BENCH_N_VERBS_ENDS) != 0 ||
        getrandom(invitation->nonce, sizeof invitation->nonce, 0) !=
            (ssize_t)sizeof invitation->nonce)
        return fail("listen");
    invitation->address = address.sin_addr.s_addr;
    invitation->port = ntohs(rdma_get_src_port(verbs->listener));
    return 0;
}

/* The next connection that knows the nonce. */
static int accept_end(struct bench_verbs *verbs, struct bench_verbs_end *end,
                      const struct invitation *invitation)
{
    struct pollfd wait = {.fd = verbs->listener->channel->fd, .events = POLLIN};
    struct rdma_conn_param param;
    struct ident ident;
    int error;

    for (;;) {
        int n_ready = poll(&wait, 1, CONNECT_TIMEOUT_MS);

        if (n_ready < 0 && errno == EINTR)
            continue;
        if (n_ready == 0)
            errno = ETIMEDOUT;
        if (n_ready <= 0 || rdma_get_request(verbs->listener, &end->id) != 0)
            return fail("waiting for rank 1");
        if (take_ident(end, end->id->event, invitation))
            break;
        (void)rdma_reject(end->id, NULL, 0);
        (void)rdma_destroy_id(end->id);
        end->id = NULL;
    }
    error = open_end(end);
    if (error != 0) {
        (void)rdma_reject(end->id, NULL, 0);
        return error;
    }
    ident = ident_of(end, invitation);
    param = parameters(&ident);
    return rdma_accept(end->id, &param) == 0 ? 0 : fail("accept");
}

static int connect_end(struct bench_verbs_end *end, const struct invitation *invitation)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = invitation->address,
                                  .sin_port = htons((uint16_t)invitation->port)};
    struct rdma_conn_param param;
    struct ident ident;
    int error;

    if (rdma_create_id(NULL, &end->id, NULL, RDMA_PS_TCP) != 0 ||
        rdma_resolve_addr(end->id, NULL, (struct sockaddr *)&address, CONNECT_TIMEOUT_MS) != 0 ||
        rdma_resolve_route(end->id, CONNECT_TIMEOUT_MS) != 0)
        return fail("the way to rank 0");
    error = open_end(end);
    if (error != 0)
        return error;
    ident = ident_of(end, invitation);
    param = parameters(&ident);
    if (rdma_connect(end->id, &param) != 0)
        return fail("connect to rank 0");
    errno = EPROTO;
    return take_ident(end, end->id->event, invitation) ? 0 : fail("connect to rank 0");
}

int bench_verbs_link_open(struct bench_worker *worker, struct bench_verbs *verbs)
{
    struct invitation invitation = {0};
    int error = worker->rank == 0 ? listen_here(verbs, &invitation) : 0, sum_error, other;

    if (error != 0)
        invitation.port = 0;
    sum_error = dsm_bcast(&invitation, sizeof invitation, 0);
    if (sum_error != 0)
        return sum_error;
    if (invitation.port == 0)
        return DSM_E_UNSUPPORTED;
    for (int i = 0; i < BENCH_N_VERBS_ENDS && error == 0 && worker->rank <= 1; i++)
        error = worker->rank == 0 ? accept_end(verbs, &verbs->ends[i], &invitation)
                                  : connect_end(&verbs->ends[i], &invitation);
    /* Both have it, or nobody. */
    for (uint32_t rank = 0; rank <= 1; rank++) {
        other = error;
        sum_error = dsm_bcast(&other, sizeof other, rank);
        if (sum_error != 0)
            return sum_error;
        if (other != 0)
            error = other;
    }
    return error;
}

void bench_verbs_link_close(struct bench_verbs *verbs)
{
    for (int i = 0; i < BENCH_N_VERBS_ENDS; i++)
        close_end(&verbs->ends[i]);
    if (verbs->listener != NULL)
        (void)rdma_destroy_id(verbs->listener);
    verbs->listener = NULL;
}
