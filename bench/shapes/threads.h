/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.h - what the macros of threads.m4 expand to. */
#ifndef BENCH_SHAPES_THREADS_H
#define BENCH_SHAPES_THREADS_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_t *thread;
    long n;
} shapes_team;

static void *shapes_run(void *function)
{
    void (*run)(void);

    memcpy(&run, &function, sizeof run);
    run();
    return NULL;
}

/* n - 1 threads, and then the function in the caller. */
static void shapes_create(void (*function)(void), long n)
{
    void *argument;

    memcpy(&argument, &function, sizeof argument);
    shapes_team.thread = calloc((size_t)n, sizeof *shapes_team.thread);
    for (shapes_team.n = 0; shapes_team.n < n - 1; shapes_team.n++) {
        if (shapes_team.thread == NULL ||
            pthread_create(&shapes_team.thread[shapes_team.n], NULL, shapes_run, argument) != 0) {
            fprintf(stderr, "no thread number %ld of %ld\n", shapes_team.n + 1, n);
            exit(1);
        }
    }
    function();
}

static void shapes_wait_for_end(void)
{
    while (shapes_team.n > 0)
        pthread_join(shapes_team.thread[--shapes_team.n], NULL);
    free(shapes_team.thread);
}

/* As libdsm's: zeroed, and from a page on aligned to pages. */
static inline void *shapes_memory(size_t bytes)
{
    void *memory = NULL;

    if (posix_memalign(&memory, bytes < 4096 ? 16 : 4096, bytes) != 0)
        return NULL;
    return memset(memory, 0, bytes);
}

/* Subscripts from 0; when the last is out and everybody has come, they begin again. */
struct shapes_subscripts {
    pthread_mutex_t lock;
    pthread_cond_t all_came;
    long next, n_came, round;
};

static inline void shapes_subscripts_init(struct shapes_subscripts *s)
{
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->all_came, NULL);
    s->next = s->n_came = s->round = 0;
}

static inline long shapes_subscript(struct shapes_subscripts *s, long last, long n_workers)
{
    long given = -1;

    pthread_mutex_lock(&s->lock);
    if (s->next <= last) {
        given = s->next++;
    } else if (++s->n_came == n_workers) {
        s->next = s->n_came = 0;
        s->round++;
        pthread_cond_broadcast(&s->all_came);
    } else {
        for (long round = s->round; round == s->round;)
            pthread_cond_wait(&s->all_came, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return given;
}

#endif
