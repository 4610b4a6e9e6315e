/* SPDX-License-Identifier: BSD-3-Clause */
/* floor_memory.c - see floor_memory.h. */
#include "bench/floor_memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct bench_memory {
    uint8_t *bytes; /* local_bytes of private 4 KiB pages, zeroed and touched */
    size_t len, n_pages;
    uint32_t *order;
    size_t next; /* place in order */
};

int bench_memory_open(struct bench_worker *worker)
{
    struct bench_memory *memory = calloc(1, sizeof *memory);

    if (memory == NULL)
        return DSM_E_NOMEM;
    worker->memory = memory;
    memory->len = (size_t)worker->effort->local_bytes;
    memory->n_pages = memory->len / BENCH_PAGE_BYTES;
    memory->order = bench_shuffle(memory->n_pages, 3);
    memory->bytes =
        mmap(NULL, memory->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory->order == NULL || memory->bytes == MAP_FAILED)
        return DSM_E_NOMEM;
    /* The shared region has 4 KiB pages; huge ones would have fewer TLB misses. A kernel without
     * huge pages refuses the advice, which is as good. */
    (void)madvise(memory->bytes, memory->len, MADV_NOHUGEPAGE);
    memset(memory->bytes, 0, memory->len);
    return 0;
}

void bench_memory_close(struct bench_worker *worker)
{
    struct bench_memory *memory = worker->memory;

    if (memory == NULL)
        return;
    if (memory->bytes != NULL && memory->bytes != MAP_FAILED)
        munmap(memory->bytes, memory->len);
    free(memory->order);
    free(memory);
    worker->memory = NULL;
}

int bench_memory_time_loads(struct bench_worker *worker, const uint8_t *bytes,
                            struct bench_samples *samples)
{
    struct bench_memory *memory = worker->memory;
    uint64_t sum = 0, start_ns = dsm_clock_ns();

    for (unsigned i = 0; i < BENCH_READS_PER_SAMPLE; i++) {
        /* Each load's address needs the value before it: nothing overlaps, a load is a load. */
        size_t at = (size_t)memory->order[memory->next] * BENCH_PAGE_BYTES + sum;

        sum += *(const volatile uint64_t *)(const void *)(bytes + at);
        memory->next = memory->next + 1 == memory->n_pages ? 0 : memory->next + 1;
    }
    bench_samples_add(samples, (double)(dsm_clock_ns() - start_ns) / BENCH_READS_PER_SAMPLE);
    if (sum != 0) {
        fprintf(stderr, "dsm-bench: memory that holds zeros summed up to %llu\n",
                (unsigned long long)sum);
        return DSM_E_STATE;
    }
    return 0;
}

int bench_floor_private_read(struct bench_worker *worker, struct bench_samples *samples)
{
    int error = 0;

    if (worker->rank != 0)
        return 0;
    bench_samples_reserve(samples, BENCH_LOCAL_SAMPLES);
    for (unsigned i = 0; i < BENCH_LOCAL_SAMPLES && error == 0; i++)
        error = bench_memory_time_loads(worker, worker->memory->bytes, samples);
    return error;
}

int bench_floor_memcpy(struct bench_worker *worker, struct bench_samples *samples)
{
    struct bench_memory *memory = worker->memory;
    size_t half;

    if (worker->rank != 0)
        return 0;
    half = memory->len / 2;
    bench_samples_reserve(samples, BENCH_LOCAL_SAMPLES);
    for (unsigned i = 0; i < BENCH_LOCAL_SAMPLES; i++) {
        uint64_t start_ns = dsm_clock_ns();

        memcpy(memory->bytes, memory->bytes + half, half);
        bench_samples_add(samples, (double)half / (double)(dsm_clock_ns() - start_ns));
    }
    return 0;
}

int bench_floor_mutex(struct bench_worker *worker, struct bench_samples *samples)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    if (worker->rank != 0)
        return 0;
    bench_samples_reserve(samples, BENCH_LOCAL_SAMPLES);
    for (unsigned i = 0; i < BENCH_LOCAL_SAMPLES; i++) {
        uint64_t start_ns = dsm_clock_ns();

        for (unsigned k = 0; k < BENCH_RETAKES_PER_SAMPLE; k++) {
            pthread_mutex_lock(&mutex);
            pthread_mutex_unlock(&mutex);
        }
        bench_samples_add(samples, bench_us_since(start_ns) / BENCH_RETAKES_PER_SAMPLE);
    }
    return 0;
}
