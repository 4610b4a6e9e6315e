/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bounce.c - ranks that write to one page without doing anything else, for the test of what the log
 * says of it.
 *
 * Two threads of each write to words of their own in the second page of "fought over", so that the
 * rank either has the page or waits for it: as soon as one of them runs. They go on until the
 * standard input of rank 0 has ended, and after that until each rank has lost the page so many
 * times more.
 */
#include <dsm/dsm.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

enum { WORDS_OF_PAGE = 512, STORES = 256, MORE_LOSSES = 1000 };

static void *make(size_t bytes, const char *name)
{
    struct dsm_alloc_options options;
    void *addr = NULL;
    dsm_alloc_options_init(&options);
    options.name = name;
    return dsm_alloc(bytes, &options, &addr) < 0 ? NULL : addr;
}

static bool has_input_ended(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    return poll(&input, 1, 0) == 1 && read(STDIN_FILENO, &byte, 1) == 0;
}

static uint64_t losses(void)
{
    struct dsm_stats stats = {.struct_size = sizeof stats};
    return dsm_stats_get(&stats) < 0 ? 0 : stats.invalidations;
}

/* Whoever holds the page lets the threads of the library at the processor, which give it away. */
static void write_for_a_while(volatile uint64_t *word)
{
    for (unsigned i = 0; i < STORES; i++) {
        ++*word;
        sched_yield();
    }
}

static atomic_bool is_over;

static void *write_on(void *word)
{
    while (!is_over)
        write_for_a_while(word);
    return NULL;
}

int main(void)
{
    pthread_t second;
    uint64_t *page, at_end = 0;
    uint32_t *flags; /* [0]: the input has ended; [1]: ranks that have lost enough since */
    bool has_ended = false, is_counted = false;
    if (dsm_init(NULL) < 0 || !(page = make(2 * 4096, "fought over")) ||
        !(flags = make(8, "flags")))
        return 1;
    uint32_t rank = dsm_rank(), n = dsm_size();
    uint64_t *word = page + WORDS_OF_PAGE + 2 * (size_t)rank;
    dsm_barrier();
    if (pthread_create(&second, NULL, write_on, word + 1))
        return 1;
    while (__atomic_load_n(&flags[1], __ATOMIC_SEQ_CST) < n) {
        write_for_a_while(word);
        if (rank == 0 && !has_ended && has_input_ended())
            dsm_exchange_u32(&flags[0], 1);
        if (!has_ended && __atomic_load_n(&flags[0], __ATOMIC_SEQ_CST)) {
            has_ended = true;
            at_end = losses();
        }
        if (has_ended && !is_counted && losses() - at_end >= MORE_LOSSES) {
            is_counted = true;
            dsm_fetch_add_u32(&flags[1], 1);
        }
    }
    is_over = true;
    pthread_join(second, NULL);
    printf("rank %u wrote %llu times\n", rank, (unsigned long long)*word);
    return dsm_finalize() < 0;
}
