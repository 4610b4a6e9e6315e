/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * readers.c - a reader-writer lock: many threads look things up in a table that few change.
 *
 * Every entry of the table says the same version; a reader that saw two would have looked while a
 * writer was at it.
 */
#include <dsm/dsm.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#define N_THREADS 2u
#define N_ENTRIES 2000u
#define ROUNDS    40u

struct table {
    uint64_t n_mixed; /* under `count` */
    char count;       /* names a lock */
    char guard;       /* names the reader-writer lock */
    uint64_t version[N_ENTRIES];
};

static struct table *table;

static void must(int error, const char *what)
{
    if (error < 0) {
        fprintf(stderr, "readers: %s: %s\n", what, dsm_strerror(error));
        dsm_abort(1);
    }
}

static void look(void)
{
    bool is_mixed = false;

    must(dsm_rwlock_read(&table->guard, DSM_FOREVER), "dsm_rwlock_read");
    for (uint32_t i = 1; i < N_ENTRIES; i++)
        is_mixed |= table->version[i] != table->version[0];
    must(dsm_rwlock_unlock(&table->guard), "dsm_rwlock_unlock");
    if (is_mixed) {
        must(dsm_lock(&table->count), "dsm_lock");
        table->n_mixed++;
        must(dsm_unlock(&table->count), "dsm_unlock");
    }
}

static void change(void)
{
    must(dsm_rwlock_write(&table->guard, DSM_FOREVER), "dsm_rwlock_write");
    for (uint32_t i = 0; i < N_ENTRIES; i++)
        table->version[i]++;
    must(dsm_rwlock_unlock(&table->guard), "dsm_rwlock_unlock");
}

static void *work(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (i % 10 == 9)
            change();
        else
            look();
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[N_THREADS];
    void *addr;
    bool is_right;

    if (dsm_init(NULL) < 0)
        return 1;
    must(dsm_alloc(sizeof *table, NULL, &addr), "dsm_alloc");
    table = addr;
    for (uint32_t t = 0; t < N_THREADS; t++)
        if (pthread_create(&threads[t], NULL, work, NULL) != 0)
            dsm_abort(1);
    for (uint32_t t = 0; t < N_THREADS; t++)
        pthread_join(threads[t], NULL);
    must(dsm_barrier(), "dsm_barrier");
    is_right = table->n_mixed == 0 && table->version[0] == dsm_size() * N_THREADS * (ROUNDS / 10);
    if (dsm_rank() == 0)
        printf("%u ranks: version %" PRIu64 ", mixed looks %" PRIu64 ": %s\n", dsm_size(),
               table->version[0], table->n_mixed, is_right ? "right" : "WRONG");
    return dsm_finalize() < 0 || !is_right;
}
