/* SPDX-License-Identifier: BSD-3-Clause */
/* rng.h - small seeded generator (SplitMix64: Steele, Lea, Flood, OOPSLA 2014). Not for secrets. */
#ifndef DSM_BASE_RNG_H
#define DSM_BASE_RNG_H

#include <stdint.h>

static inline uint64_t dsm_rng_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* Uniform in 0..n-1; n > 0. */
static inline uint64_t dsm_rng_below(uint64_t *state, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)dsm_rng_next(state) * n) >> 64);
}

#endif
