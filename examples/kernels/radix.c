/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * radix.c - radix sort of 32-bit keys, eight bits a pass, keys dealt in stripes.
 *
 * In a pass each rank sorts its own keys by the digit, in its own stripe, and tells how many of
 * each digit it has; then each rank fills its stripe of the result from the others' runs. So a page
 * has one writer at a time, where a rank that writes keys straight to their places would fight
 * with all others for every page.
 */
#include <stdlib.h>
#include <string.h>
#include "team.h"

#define DIGITS 256u
#define PASSES 4u

struct radix {
    struct team team;
    uint64_t n, keys; /* keys: of each rank's stripe, the last may have fewer */
    size_t stripe_bytes;
    char *result, *sorted; /* keys; keys by digit within each stripe */
    char *counts;          /* of each rank, DIGITS numbers in a unit of its own */
};

static uint32_t *keys_of(const struct radix *r, const char *array, uint32_t rank)
{
    return (uint32_t *)(void *)(array + rank * r->stripe_bytes);
}

static uint64_t *counts_of(const struct radix *r, uint32_t rank)
{
    return (uint64_t *)(void *)(r->counts + (size_t)rank * 4096);
}

static uint64_t first_key(const struct radix *r, uint32_t rank)
{
    uint64_t first = r->keys * rank;

    return first < r->n ? first : r->n;
}

static uint64_t n_keys(const struct radix *r, uint32_t rank)
{
    return first_key(r, rank + 1) - first_key(r, rank);
}

static void sort_own(const struct radix *r, unsigned shift)
{
    const uint32_t *in = keys_of(r, r->result, r->team.rank);
    uint32_t *out = keys_of(r, r->sorted, r->team.rank);
    uint64_t n = n_keys(r, r->team.rank), counts[DIGITS] = {0}, at[DIGITS], sum = 0;

    for (uint64_t i = 0; i < n; i++)
        counts[in[i] >> shift & (DIGITS - 1)]++;
    for (unsigned d = 0; d < DIGITS; d++) {
        at[d] = sum;
        sum += counts[d];
    }
    for (uint64_t i = 0; i < n; i++)
        out[at[in[i] >> shift & (DIGITS - 1)]++] = in[i];
    memcpy(counts_of(r, r->team.rank), counts, sizeof(counts));
}

/* The part of a run of keys that goes into this rank's stripe of the result. */
static void take_run(const struct radix *r, uint32_t rank, uint64_t run_at, uint64_t from,
                     uint64_t len)
{
    uint64_t first = first_key(r, r->team.rank), end = first + n_keys(r, r->team.rank);
    uint64_t low = run_at > first ? run_at : first;
    uint64_t high = run_at + len < end ? run_at + len : end;

    if (low < high)
        memcpy(keys_of(r, r->result, r->team.rank) + (low - first),
               keys_of(r, r->sorted, rank) + from + (low - run_at),
               (high - low) * sizeof(uint32_t));
}

static int gather_own(const struct radix *r)
{
    uint64_t run_at = 0;
    uint64_t *from = calloc(r->team.n_ranks, sizeof(*from));

    if (from == NULL)
        return DSM_E_NOMEM;
    for (unsigned d = 0; d < DIGITS; d++) {
        for (uint32_t rank = 0; rank < r->team.n_ranks; rank++) {
            uint64_t len = counts_of(r, rank)[d];

            take_run(r, rank, run_at, from[rank], len);
            from[rank] += len;
            run_at += len;
        }
    }
    free(from);
    return 0;
}

static int sort(const struct radix *r)
{
    int err = 0;

    for (unsigned pass = 0; pass < PASSES && err == 0; pass++) {
        sort_own(r, pass * 8);
        err = team_barrier(&r->team);
        if (err == 0)
            err = gather_own(r);
        if (err == 0)
            err = team_barrier(&r->team);
    }
    return err;
}

static uint64_t key_sum(const struct radix *r)
{
    const uint32_t *keys = keys_of(r, r->result, r->team.rank);
    uint64_t sum = 0;

    for (uint64_t i = 0; i < n_keys(r, r->team.rank); i++)
        sum += mix64(keys[i]);
    return sum;
}

/* The same keys as before, none smaller than the one in front of it. */
static int verify_order(const struct radix *r, uint64_t sum_before, struct kernel_result *result)
{
    const uint32_t *keys = keys_of(r, r->result, r->team.rank);
    uint64_t n = n_keys(r, r->team.rank), first = first_key(r, r->team.rank);
    uint64_t totals[4] = {sum_before, key_sum(r), 0, 0};
    int err;

    for (uint64_t i = 0; i < n; i++) {
        uint32_t before = keys[i];

        if (i > 0)
            before = keys[i - 1];
        else if (first > 0)
            before = keys_of(r, r->result, r->team.rank - 1)[r->keys - 1];
        totals[2] += keys[i] < before;
        totals[3] += mix64(keys[i] ^ mix64(first + i));
    }
    err = team_sum_u64(&r->team, totals, 4);
    result->residual = (double)totals[2];
    result->checksum = totals[3];
    result->is_verified = totals[0] == totals[1] && totals[2] == 0;
    return err;
}

static int run(struct team team, const uint64_t *sizes, bool verify, struct kernel_result *out)
{
    struct radix r = {.team = team, .n = sizes[0]};
    struct kernel_result result = {0};
    void *arrays[3] = {NULL, NULL, NULL};
    uint64_t sum = 0;
    int err;

    if (r.n == 0)
        return DSM_E_INVAL;
    r.keys = (r.n + team.n_ranks - 1) / team.n_ranks;
    r.stripe_bytes = round_up(r.keys * sizeof(uint32_t), 65536);
    err = team_alloc(&r.team, r.stripe_bytes, 65536, "radix result", &arrays[0]);
    if (err == 0)
        err = team_alloc(&r.team, r.stripe_bytes, 65536, "radix sorted", &arrays[1]);
    if (err == 0)
        err = team_alloc(&r.team, 4096, 4096, "radix counts", &arrays[2]);
    r.result = arrays[0];
    r.sorted = arrays[1];
    r.counts = arrays[2];
    if (err == 0) {
        for (uint64_t i = 0; i < n_keys(&r, team.rank); i++)
            keys_of(&r, r.result, team.rank)[i] = (uint32_t)mix64(first_key(&r, team.rank) + i);
        sum = key_sum(&r);
        err = team_start_clock(&r.team);
    }
    if (err == 0)
        err = sort(&r);
    if (err == 0)
        err = team_stop_clock(&r.team, &result);
    if (err == 0 && verify)
        err = verify_order(&r, sum, &result);
    result.iterations = PASSES;
    for (int i = 2; i >= 0; i--)
        team_free(&r.team, arrays[i]);
    if (err == 0)
        *out = result;
    return err;
}

const struct kernel kernel_radix = {.name = "radix", .run = run};
