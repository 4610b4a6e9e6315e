/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reuse.c - memory that is freed goes back to the system, round after round, whatever carries the
 * pages: two ranks write each other's half of an allocation, read it, and free it; in every other
 * round only one page in SPARSE of it. New memory is zero. Over rdma some of it was registered
 * meanwhile, and is let go; what lies between was not, and is not to be filled by being freed.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <dsm/dsm.h>

#define LEN_BYTES  (4u << 20)
#define PAGE_BYTES 4096u
#define N_ROUNDS   6u
#define SPARSE     256u
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

/* Of the region's memory, as its file says: RssShmem would count the transport's buffers, and
 * before Linux 6.2 it can be wrong by 64 pages for each thread. */
static uint64_t resident_bytes(int region)
{
    struct stat st;
    if (fstat(region, &st)) {
        perror("reuse: the region's file");
        dsm_abort(1);
    }
    return (uint64_t)st.st_blocks * 512;
}

/* The library keeps it open. */
static int find_region(void)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;
    int region = -1;
    while (dir && region < 0 && (entry = readdir(dir))) {
        char target[64] = "";
        if (readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1) > 0 &&
            strstr(target, "memfd:dsm-region"))
            region = atoi(entry->d_name);
    }
    if (dir)
        closedir(dir);
    if (region < 0) {
        fprintf(stderr, "reuse: no memfd:dsm-region in /proc/self/fd\n");
        dsm_abort(1);
    }
    return region;
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
    const uint64_t step = round % 2 ? SPARSE : 1;
    uint64_t mine = dsm_rank() * half, theirs = half - mine;
    for (uint64_t i = theirs; i < theirs + half; i += step) {
        if (*word(memory, i) != 0) {
            fprintf(stderr, "reuse: page %" PRIu64 " is not new in round %u\n", i, round);
            dsm_abort(1);
        }
        *word(memory, i) = i * N_ROUNDS + round + 1;
    }
    check(dsm_barrier(), "dsm_barrier");
    for (uint64_t i = mine; i < mine + half; i += step) {
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
static void await_return(int region, uint64_t pinned_before, uint64_t resident_before,
                         unsigned round)
{
    const struct timespec step = {.tv_nsec = 1000000};
    time_t end = time(NULL) + GUARD_S;
    while (pinned_bytes() > pinned_before + MARGIN_BYTES ||
           resident_bytes(region) > resident_before + MARGIN_BYTES) {
        if (time(NULL) > end) {
            fprintf(stderr,
                    "reuse: after round %u, %" PRIu64 " bytes are registered (%" PRIu64
                    " before) and %" PRIu64 " resident (%" PRIu64 " before)\n",
                    round, pinned_bytes(), pinned_before, resident_bytes(region), resident_before);
            dsm_abort(1);
        }
        nanosleep(&step, NULL);
    }
}

int main(void)
{
    check(dsm_init(NULL), "dsm_init");
    const int region = find_region();
    struct dsm_alloc_options options;
    uint64_t pinned_before = pinned_bytes(), resident_before = resident_bytes(region);
    uint64_t most_pinned = 0;
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_BLOCK;
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        void *memory;
        check(dsm_alloc(LEN_BYTES, &options, &memory), "dsm_alloc");
        use(memory, round, &most_pinned);
        if (dsm_rank() == 0)
            check(dsm_free(memory), "dsm_free");
        check(dsm_barrier(), "dsm_barrier");
        await_return(region, pinned_before, resident_before, round);
        check(dsm_barrier(), "dsm_barrier");
    }
    if (dsm_rank() == 0)
        printf("reuse: %u rounds over %s, at most %" PRIu64 " KiB registered, %" PRIu64
               " KiB now\n",
               N_ROUNDS, dsm_transport_name(), most_pinned >> 10, pinned_bytes() >> 10);
    return dsm_finalize() < 0;
}
