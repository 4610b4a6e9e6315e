/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reuse.c - memory that is freed goes back to the system, round after round, whatever carries the
 * pages: two ranks write each other's half of an allocation, read it, and free it. New memory is
 * zero. Over rdma some of it was registered meanwhile, and is let go.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <dsm/dsm.h>

#define LEN_BYTES  (4u << 20)
#define PAGE_BYTES 4096u
#define N_ROUNDS   4u
/* What a round may leave: pieces at both ends that other allocations use as well. */
#define MARGIN_BYTES (1u << 20)
#define GUARD_S      60

static void check(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "reuse: %s: %s\n", what, dsm_strerror(error));
    dsm_abort(1);
}

/* Of shared memory, which is what the region and the transport's buffers are. */
static uint64_t resident_bytes(void)
{
    char line[256];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssShmem: %" SCNu64 " kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib << 10;
}

static uint64_t pinned_bytes(void)
{
    struct dsm_stats stats = {.struct_size = sizeof stats};
    check(dsm_stats_get(&stats), "dsm_stats_get");
    return stats.net_pinned_bytes;
}

static volatile uint64_t *word(uint8_t *memory, uint64_t page)
{
    return (volatile uint64_t *)(void *)(memory + page * PAGE_BYTES);
}

/* A page's word: 0 when it is new, then what the writer puts there. */
static void use(uint8_t *memory, unsigned round, uint64_t *most_pinned)
{
    const uint64_t n = LEN_BYTES / PAGE_BYTES, half = n / 2;
    uint64_t mine = dsm_rank() * half, theirs = half - mine;
    for (uint64_t i = theirs; i < theirs + half; i++) {
        if (*word(memory, i) != 0) {
            fprintf(stderr, "reuse: page %" PRIu64 " is not new in round %u\n", i, round);
            dsm_abort(1);
        }
        *word(memory, i) = i * N_ROUNDS + round + 1;
    }
    check(dsm_barrier(), "dsm_barrier");
    for (uint64_t i = mine; i < mine + half; i++) {
        if (*word(memory, i) != i * N_ROUNDS + round + 1) {
            fprintf(stderr, "reuse: page %" PRIu64 " is wrong in round %u\n", i, round);
            dsm_abort(1);
        }
    }
    uint64_t now = pinned_bytes();
    *most_pinned = now > *most_pinned ? now : *most_pinned;
    check(dsm_barrier(), "dsm_barrier");
}

/* The library's thread lets memory go when it comes to it. */
static void await_return(uint64_t pinned_before, uint64_t resident_before, unsigned round)
{
    const struct timespec step = {.tv_nsec = 1000000};
    time_t end = time(NULL) + GUARD_S;
    while (pinned_bytes() > pinned_before + MARGIN_BYTES ||
           resident_bytes() > resident_before + MARGIN_BYTES) {
        if (time(NULL) > end) {
            fprintf(stderr,
                    "reuse: after round %u, %" PRIu64 " bytes are registered (%" PRIu64
                    " before) and %" PRIu64 " resident (%" PRIu64 " before)\n",
                    round, pinned_bytes(), pinned_before, resident_bytes(), resident_before);
            dsm_abort(1);
        }
        nanosleep(&step, NULL);
    }
}

int main(void)
{
    check(dsm_init(NULL), "dsm_init");
    struct dsm_alloc_options options;
    uint64_t pinned_before = 0, resident_before = 0, most_pinned = 0;
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_BLOCK;
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        void *memory;
        check(dsm_alloc(LEN_BYTES, &options, &memory), "dsm_alloc");
        use(memory, round, &most_pinned);
        if (dsm_rank() == 0)
            check(dsm_free(memory), "dsm_free");
        check(dsm_barrier(), "dsm_barrier");
        if (round > 0) { /* the first round makes what stays */
            await_return(pinned_before, resident_before, round);
        } else {
            await_return(0, UINT64_MAX / 2, round);
            pinned_before = pinned_bytes();
            resident_before = resident_bytes();
        }
        check(dsm_barrier(), "dsm_barrier");
    }
    if (dsm_rank() == 0)
        printf("reuse: %u rounds over %s, at most %" PRIu64 " KiB registered, %" PRIu64
               " KiB now\n",
               N_ROUNDS, dsm_transport_name(), most_pinned >> 10, pinned_bytes() >> 10);
    return dsm_finalize() < 0;
}
