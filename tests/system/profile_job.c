/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * profile_job.c - faults that can be counted beforehand, for the test of profiles.
 *
 * ROUNDS times, between barriers: rank 0 and then rank 1 write to their own halves of one word
 * ("halves"; but the first time, when rank 1 writes to that of rank 0, as who sets up does), which
 * takes a write fault each; rank 0 writes to a word that rank 1 then reads
 * ("word") and pins for a moment; each of them takes and gives back a lock, which the other held
 * last; rank 1 posts a semaphore and rank 0 waits for it; rank 0 holds a reader-writer lock. All of
 * them are named by addresses in "word". The last argument "die" makes rank 1 kill itself at the
 * end; "wait" makes rank 0 wait there for the end of its input. A third one, "hide", hides rank 1
 * from who looks on this host. "walk", instead of all that: rank 0 reads ROUNDS times through 4 MiB
 * of rank 1.
 */
#define _GNU_SOURCE
#include <dsm/dsm.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Its name has what a page for browsers must escape. */
#define HALVES_NAME "<i>halves</i>&\""

/* Takes away what dsmtop looks for on this host, as if the rank were on another one. */
static int hide(void)
{
    for (int fd = 3; fd < 1000; fd++) {
        char link[40], target[64] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) < 0 || !strstr(target, "memfd:dsm-live"))
            continue;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        return null >= 0 && dup3(null, fd, O_CLOEXEC) == fd ? close(null) : -1;
    }
    return -1;
}

static volatile uint64_t *make(const char *name)
{
    struct dsm_alloc_options options;
    void *addr;
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_RANK;
    options.name = name;
    if (dsm_alloc(4096, &options, &addr) < 0)
        exit(1);
    return addr;
}

__attribute__((noinline)) static int take_and_give(const volatile void *lock)
{
    int error = dsm_lock((const void *)lock); /* waits here */
    return error ? error : dsm_unlock((const void *)lock);
}

__attribute__((noinline)) static int synchronise(const volatile uint64_t *names)
{
    const void *semaphore = (const void *)(names + 20), *rwlock = (const void *)(names + 30);
    if (dsm_rank() == 0 &&
        (take_and_give(names + 10) || dsm_rwlock_write(rwlock, DSM_FOREVER) || /* and here */
         dsm_rwlock_unlock(rwlock)))
        return -1;
    dsm_barrier();
    if (dsm_rank() == 1 && (take_and_give(names + 10) || dsm_sem_post(semaphore, 1)))
        return -1;
    /* No call in the tail, which would be told as one of main's. */
    return dsm_rank() == 0 && dsm_sem_wait(semaphore, DSM_FOREVER) < 0 ? -1 : 0;
}

static int walk(unsigned rounds)
{
    enum { BYTES = 4 << 20 };
    struct dsm_alloc_options options;
    void *addr;
    uint64_t sum = 0;
    dsm_alloc_options_init(&options);
    options.placement = DSM_PLACE_RANK;
    options.rank = 1;
    options.name = "walked";
    if (dsm_alloc(BYTES, &options, &addr) < 0)
        return 1;
    volatile uint64_t *words = addr;
    /* A page that was never written costs no memory. */
    for (size_t i = 0; i < BYTES / 8 && dsm_rank() == 1; i += 512)
        words[i] = 1;
    dsm_barrier();
    for (unsigned round = 0; round < rounds && dsm_rank() == 0; round++)
        for (size_t i = 0; i < BYTES / 8; i += 512)
            sum += words[i];
    if (dsm_rank() == 0 && sum != (uint64_t)rounds * (BYTES / 4096))
        return 3;
    return dsm_finalize() < 0;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 10;
    uint64_t sum = 0;
    if (dsm_init(NULL) < 0)
        return 1;
    const char *then = argc > 2 ? argv[2] : "";
    if (strcmp(then, "walk") == 0)
        return walk(rounds);
    if (argc > 3 && dsm_rank() == 1 && hide() != 0)
        return 1;
    if (dsm_rank() == 0 && strcmp(then, "wait") == 0)
        printf("rank 0 is %d\n", (int)getpid());
    volatile uint64_t *halves = make(HALVES_NAME), *word = make("word");
    for (unsigned i = 1; i <= rounds; i++) {
        if (dsm_rank() == 0)
            *(volatile uint32_t *)halves = i;
        dsm_barrier();
        if (dsm_rank() == 1)
            ((volatile uint32_t *)halves)[i > 1] = i;
        dsm_barrier();
        if (dsm_rank() == 0)
            *word = i;
        dsm_barrier();
        if (dsm_rank() == 1) {
            sum += *word;
            if (dsm_pin((const void *)word, 8, DSM_READ, DSM_PIN_MAX_NS) || /* it is here */
                dsm_unpin((const void *)word, 8))
                return 1;
        }
        dsm_barrier();
        if (synchronise(word) < 0)
            return 1;
    }
    if (strcmp(then, "die") == 0 && dsm_rank() == 1)
        raise(SIGKILL);
    if (strcmp(then, "wait") == 0 && dsm_rank() == 0) {
        puts("waiting");
        fflush(stdout);
        while (getchar() != EOF)
            ;
    }
    if (dsm_rank() == 1 && sum != (uint64_t)rounds * (rounds + 1) / 2)
        return 3;
    return dsm_finalize() < 0;
}
