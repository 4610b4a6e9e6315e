/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * workshop.c - one use of each of: condition variables, semaphores, flags, self-scheduling tickets,
 * barriers of threads, and atomic words.
 *
 * Rank 0 opens the shop (a flag). Workers of all ranks take orders (tickets); only three may use
 * the oven at a time (a semaphore); what is ready goes onto a shelf of four places, from which the
 * last thread of each rank carries it away (condition variables). How much was sold is a word. All
 * meet before they go home (a barrier of threads).
 */
#include <dsm/dsm.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#define N_WORKERS 2u
#define N_ORDERS  60u
#define N_PLACES  4u
#define N_OVENS   3u

struct shop {
    uint64_t on_shelf, made, sold_by_hand; /* under `shelf` */
    bool is_closed;
    char shelf;               /* names a lock */
    char filled, emptied;     /* conditions */
    char open, orders, ovens; /* flag, tickets, semaphore */
    char till, door;          /* word, barrier */
};

static struct shop *shop;

static void must(int error, const char *what)
{
    if (error < 0) {
        fprintf(stderr, "workshop: %s: %s\n", what, dsm_strerror(error));
        dsm_abort(1);
    }
}

static void go_home(void)
{
    must(dsm_barrier_threads(&shop->door, (N_WORKERS + 1) * dsm_size(), DSM_FOREVER),
         "dsm_barrier_threads");
}

static void put_on_shelf(void)
{
    must(dsm_lock(&shop->shelf), "dsm_lock");
    while (shop->on_shelf == N_PLACES)
        must(dsm_cond_wait(&shop->emptied, &shop->shelf, DSM_FOREVER), "dsm_cond_wait");
    shop->on_shelf++;
    if (++shop->made == N_ORDERS) {
        shop->is_closed = true;
        must(dsm_cond_broadcast(&shop->filled), "dsm_cond_broadcast");
    }
    must(dsm_cond_signal(&shop->filled), "dsm_cond_signal");
    must(dsm_unlock(&shop->shelf), "dsm_unlock");
}

static void *make(void *arg)
{
    int64_t order;

    (void)arg;
    must(dsm_flag_await(&shop->open, 1, DSM_FOREVER), "dsm_flag_await");
    for (;;) {
        must(dsm_ticket_next(&shop->orders, N_ORDERS, N_WORKERS * dsm_size(), DSM_FOREVER, &order),
             "dsm_ticket_next");
        if (order < 0)
            break;
        must(dsm_sem_wait(&shop->ovens, DSM_FOREVER), "dsm_sem_wait");
        must(dsm_sem_post(&shop->ovens, 1), "dsm_sem_post");
        put_on_shelf();
    }
    go_home();
    return NULL;
}

static void *sell(void *arg)
{
    (void)arg;
    must(dsm_lock(&shop->shelf), "dsm_lock");
    for (;;) {
        while (shop->on_shelf == 0 && !shop->is_closed)
            must(dsm_cond_wait(&shop->filled, &shop->shelf, DSM_FOREVER), "dsm_cond_wait");
        if (shop->on_shelf == 0)
            break;
        shop->on_shelf--;
        shop->sold_by_hand++;
        must(dsm_cond_signal(&shop->emptied), "dsm_cond_signal");
        must(dsm_word_fetch_add_u64(&shop->till, 3, NULL), "dsm_word_fetch_add_u64");
    }
    must(dsm_unlock(&shop->shelf), "dsm_unlock");
    go_home();
    return NULL;
}

int main(void)
{
    pthread_t threads[N_WORKERS + 1];
    uint64_t till = 0;
    void *addr;
    bool is_right;

    if (dsm_init(NULL) < 0)
        return 1;
    must(dsm_alloc(sizeof *shop, NULL, &addr), "dsm_alloc");
    shop = addr;
    for (uint32_t t = 0; t <= N_WORKERS; t++)
        if (pthread_create(&threads[t], NULL, t < N_WORKERS ? make : sell, NULL) != 0)
            dsm_abort(1);
    if (dsm_rank() == 0) {
        must(dsm_sem_set(&shop->ovens, N_OVENS), "dsm_sem_set");
        must(dsm_flag_set(&shop->open, 1), "dsm_flag_set");
    }
    for (uint32_t t = 0; t <= N_WORKERS; t++)
        pthread_join(threads[t], NULL);
    must(dsm_word_fetch_add_u64(&shop->till, 0, &till), "dsm_word_fetch_add_u64");
    is_right = shop->sold_by_hand == N_ORDERS && shop->on_shelf == 0 && till == 3 * N_ORDERS;
    if (dsm_rank() == 0)
        printf("%u ranks sold %" PRIu64 " for %" PRIu64 ": %s\n", dsm_size(), shop->sold_by_hand,
               till, is_right ? "right" : "WRONG");
    must(dsm_barrier(), "dsm_barrier");
    return dsm_finalize() < 0 || !is_right;
}
