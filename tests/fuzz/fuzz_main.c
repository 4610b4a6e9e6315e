/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_main.c - runs a fuzz target on its valid inputs and on seeded mutations of them.
 *
 * Usage: TARGET [FILE...]: each file once. Else FUZZ_RUNS inputs (30000) from FUZZ_SEED, both from
 * the environment; FUZZ_RUN runs a single one of them. The number of an input that crashes the
 * target is printed.
 */
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/parse.h"
#include "base/rng.h"
#include "fuzz.h"

#define DEFAULT_RUNS 30000u
#define DEFAULT_SEED 20251121u
#define N_SEEDS_MAX  64u

/* For the handler of a crash. */
static char where[160];
static size_t where_len;

static void on_crash(int signal)
{
    (void)!write(STDERR_FILENO, where, where_len);
    raise(signal); /* SA_RESETHAND: the default action */
}

static uint64_t number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    uint64_t value = fallback;

    if (text != NULL && dsm_parse_u64(text, 0, UINT64_MAX, &value) < 0) {
        fprintf(stderr, "%s=%s: expected a number\n", name, text);
        exit(2);
    }
    return value;
}

/* One small change: a bit, a byte, a run copied, removed or set, the end cut. */
static size_t mutate(uint64_t *rng, uint8_t *bytes, size_t len)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '\n', ' ', ',', ':', '-', '|', '0'};
    size_t at, other, run;

    if (len == 0) {
        bytes[0] = (uint8_t)dsm_rng_next(rng);
        return 1;
    }
    at = dsm_rng_below(rng, len);
    other = dsm_rng_below(rng, len);
    run = 1 + dsm_rng_below(rng, 16);
    if (run > len - at)
        run = len - at;
    switch (dsm_rng_below(rng, 7)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << dsm_rng_below(rng, 8));
        return len;
    case 1:
        bytes[at] = (uint8_t)dsm_rng_next(rng);
        return len;
    case 2:
        bytes[at] = telling[dsm_rng_below(rng, sizeof(telling))];
        return len;
    case 3: /* copied over something else */
        memmove(bytes + other, bytes + at, run < len - other ? run : len - other);
        return len;
    case 4: /* removed */
        memmove(bytes + at, bytes + at + run, len - at - run);
        return len - run;
    case 5: /* inserted again */
        if (len + run > FUZZ_MAX_BYTES)
            return len;
        memmove(bytes + at + run, bytes + at, len - at);
        return len + run;
    default:
        return at;
    }
}

static size_t make_input(uint64_t seed, uint64_t run, uint8_t bytes[FUZZ_MAX_BYTES])
{
    uint64_t rng = seed + run * 0x9e3779b97f4a7c15u;
    unsigned n_seeds = 0;
    size_t len = 0;

    while (n_seeds < N_SEEDS_MAX && fuzz_seed(n_seeds, bytes) > 0)
        n_seeds++;
    if (run < n_seeds)
        return fuzz_seed((unsigned)run, bytes);
    if (n_seeds > 0 && dsm_rng_below(&rng, 16) > 0) {
        len = fuzz_seed((unsigned)dsm_rng_below(&rng, n_seeds), bytes);
    } else {
        len = dsm_rng_below(&rng, 256);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)dsm_rng_next(&rng);
    }
    for (uint64_t n = 1 + dsm_rng_below(&rng, 8); n > 0; n--)
        len = mutate(&rng, bytes, len);
    return len;
}

static void run_one(const uint8_t *bytes, size_t len)
{
    /* In memory of its own length, so that a read beyond it is seen. */
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL)
        exit(2);
    memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static int run_files(int n_files, char **files)
{
    static uint8_t bytes[FUZZ_MAX_BYTES];

    for (int i = 0; i < n_files; i++) {
        FILE *file = fopen(files[i], "rb");

        if (file == NULL) {
            perror(files[i]);
            return 2;
        }
        run_one(bytes, fread(bytes, 1, sizeof(bytes), file));
        fclose(file);
    }
    printf("%d files survived\n", n_files);
    return 0;
}

int main(int argc, char **argv)
{
    static uint8_t bytes[FUZZ_MAX_BYTES];
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    uint64_t seed = number_from("FUZZ_SEED", DEFAULT_SEED);
    uint64_t runs = number_from("FUZZ_RUNS", DEFAULT_RUNS);
    uint64_t only = number_from("FUZZ_RUN", UINT64_MAX);

    if (argc > 1)
        return run_files(argc - 1, argv + 1);
    printf("FUZZ_SEED=%llu FUZZ_RUNS=%llu\n", (unsigned long long)seed, (unsigned long long)runs);
    fflush(stdout);
    for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
        sigaction(crashes[i], &action, NULL);
    for (uint64_t run = only < UINT64_MAX ? only : 0; run < runs || run == only; run++) {
        where_len = dsm_format(where, sizeof(where), "replay: FUZZ_SEED=%lu FUZZ_RUN=%lu\n",
                               (unsigned long)seed, (unsigned long)run);
        alarm(10); /* an input that takes longer hangs */
        run_one(bytes, make_input(seed, run, bytes));
        if (run == only)
            break;
    }
    printf("all survived\n");
    return 0;
}
