/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls_refused.c - calls that fail with memory of the region, every one of them, with EINVAL.
 */
#define _GNU_SOURCE
#include "syscalls.h"
#include <aio.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

void *ibv_reg_mr(void *domain, void *p, size_t len, int access);
void *ibv_reg_mr_iova2(void *domain, void *p, size_t len, uint64_t iova, unsigned access);

/* Name, and a call on shared memory at p that ends with -1 and errno, or a number that says so. */
#define ERRNO(call)      ((call) == -1 ? errno : 0)
#define NULL_ERRNO(call) ((call) == NULL ? errno : 0)
#define THREADS(call)    ((call) == thrd_error ? EINVAL : 0)
#define REFUSED(XX)                                                                                \
    XX(mprotect, ERRNO(mprotect(p, PAGE, PROT_READ)))                                              \
    XX(pkey_mprotect, ERRNO(pkey_mprotect(p, PAGE, PROT_READ, -1)))                                \
    XX(munmap, ERRNO(munmap(p, PAGE)))                                                             \
    XX(mremap, mremap(p, PAGE, PAGE, 0) == MAP_FAILED ? errno : 0)                                 \
    XX(madvise, ERRNO(madvise(p, PAGE, MADV_DONTNEED)))                                            \
    XX(posix_madvise, posix_madvise(p, PAGE, POSIX_MADV_NORMAL))                                   \
    XX(mlock, ERRNO(mlock(p, PAGE)))                                                               \
    XX(mlock2, ERRNO(mlock2(p, PAGE, 0)))                                                          \
    XX(munlock, ERRNO(munlock(p, PAGE)))                                                           \
    XX(vmsplice, ERRNO(vmsplice(fds[1], &v, 1, 0)))                                                \
    XX(aio_read, ERRNO(aio_read(&request)))                                                        \
    XX(aio_write, ERRNO(aio_write(&request)))                                                      \
    XX(ibv_reg_mr, NULL_ERRNO(ibv_reg_mr(NULL, p, PAGE, 0)))                                       \
    XX(ibv_reg_mr_iova2, NULL_ERRNO(ibv_reg_mr_iova2(NULL, p, PAGE, 0, 0)))                        \
    XX(pthread_mutex_init, pthread_mutex_init(p, NULL))                                            \
    XX(pthread_mutex_destroy, pthread_mutex_destroy(p))                                            \
    XX(pthread_mutex_lock, pthread_mutex_lock(p))                                                  \
    XX(pthread_mutex_trylock, pthread_mutex_trylock(p))                                            \
    XX(pthread_mutex_timedlock, pthread_mutex_timedlock(p, &now))                                  \
    XX(pthread_mutex_clocklock, pthread_mutex_clocklock(p, CLOCK_REALTIME, &now))                  \
    XX(pthread_mutex_unlock, pthread_mutex_unlock(p))                                              \
    XX(pthread_rwlock_init, pthread_rwlock_init(p, NULL))                                          \
    XX(pthread_rwlock_destroy, pthread_rwlock_destroy(p))                                          \
    XX(pthread_rwlock_rdlock, pthread_rwlock_rdlock(p))                                            \
    XX(pthread_rwlock_wrlock, pthread_rwlock_wrlock(p))                                            \
    XX(pthread_rwlock_tryrdlock, pthread_rwlock_tryrdlock(p))                                      \
    XX(pthread_rwlock_trywrlock, pthread_rwlock_trywrlock(p))                                      \
    XX(pthread_rwlock_timedrdlock, pthread_rwlock_timedrdlock(p, &now))                            \
    XX(pthread_rwlock_timedwrlock, pthread_rwlock_timedwrlock(p, &now))                            \
    XX(pthread_rwlock_clockrdlock, pthread_rwlock_clockrdlock(p, CLOCK_REALTIME, &now))            \
    XX(pthread_rwlock_clockwrlock, pthread_rwlock_clockwrlock(p, CLOCK_REALTIME, &now))            \
    XX(pthread_rwlock_unlock, pthread_rwlock_unlock(p))                                            \
    XX(pthread_cond_init, pthread_cond_init(p, NULL))                                              \
    XX(pthread_cond_destroy, pthread_cond_destroy(p))                                              \
    XX(pthread_cond_signal, pthread_cond_signal(p))                                                \
    XX(pthread_cond_broadcast, pthread_cond_broadcast(p))                                          \
    XX(pthread_cond_wait, pthread_cond_wait(p, &mutex))                                            \
    XX(pthread_cond_timedwait, pthread_cond_timedwait(p, &mutex, &now))                            \
    XX(pthread_cond_clockwait, pthread_cond_clockwait(p, &mutex, CLOCK_REALTIME, &now))            \
    XX(pthread_barrier_init, pthread_barrier_init(p, NULL, 1))                                     \
    XX(pthread_barrier_destroy, pthread_barrier_destroy(p))                                        \
    XX(pthread_barrier_wait, pthread_barrier_wait(p))                                              \
    XX(sem_init, ERRNO(sem_init(p, 0, 1)))                                                         \
    XX(sem_destroy, ERRNO(sem_destroy(p)))                                                         \
    XX(sem_wait, ERRNO(sem_wait(p)))                                                               \
    XX(sem_trywait, ERRNO(sem_trywait(p)))                                                         \
    XX(sem_timedwait, ERRNO(sem_timedwait(p, &now)))                                               \
    XX(sem_clockwait, ERRNO(sem_clockwait(p, CLOCK_REALTIME, &now)))                               \
    XX(sem_post, ERRNO(sem_post(p)))                                                               \
    XX(mtx_init, THREADS(mtx_init(p, mtx_plain)))                                                  \
    XX(mtx_lock, THREADS(mtx_lock(p)))                                                             \
    XX(mtx_trylock, THREADS(mtx_trylock(p)))                                                       \
    XX(mtx_timedlock, THREADS(mtx_timedlock(p, &now)))                                             \
    XX(mtx_unlock, THREADS(mtx_unlock(p)))                                                         \
    XX(cnd_init, THREADS(cnd_init(p)))                                                             \
    XX(cnd_signal, THREADS(cnd_signal(p)))                                                         \
    XX(cnd_broadcast, THREADS(cnd_broadcast(p)))                                                   \
    XX(cnd_wait, THREADS(cnd_wait(p, &c_mutex)))                                                   \
    XX(cnd_timedwait, THREADS(cnd_timedwait(p, &c_mutex, &now)))

const char *const refused_names[] = {
#define XX(name, call) #name,
    REFUSED(XX)
#undef XX
        NULL,
};

/* Nothing is changed, and each says why. */
static void calls_are_refused(void *p)
{
    int fds[2];
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    mtx_t c_mutex;
    struct timespec now;
    struct iovec v = {p, 10};
    struct aiocb request = {.aio_buf = p, .aio_nbytes = 10};
    CHECK(mtx_init(&c_mutex, mtx_plain) == thrd_success);
    CHECK(pipe(fds) == 0);
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
#define XX(name, call) CHECK((call) == EINVAL);
    REFUSED(XX)
#undef XX
    close(fds[0]);
    close(fds[1]);
}

/* The messages, one for each name, whatever the number of calls. */
void every_refused_call_fails(struct arena *a)
{
    int stderr_copy = dup(STDERR_FILENO), fds[2];
    static char said[64 << 10], before[PAGE];
    char *p = room(a, 2 * PAGE);
    p = (char *)(((uintptr_t)p + PAGE - 1) & ~(PAGE - 1));
    memcpy(before, p, PAGE);
    CHECK(pipe(fds) == 0);
    CHECK(dup2(fds[1], STDERR_FILENO) == STDERR_FILENO);
    calls_are_refused(p);
    calls_are_refused(p);
    CHECK(dup2(stderr_copy, STDERR_FILENO) == STDERR_FILENO);
    close(fds[1]);
    close(stderr_copy);
    for (size_t n = 0;;) {
        ssize_t more = read(fds[0], said + n, sizeof said - 1 - n);
        CHECK(more >= 0);
        if (more == 0)
            break;
        n += (size_t)more;
    }
    close(fds[0]);
    CHECK(memcmp(before, p, PAGE) == 0);
    for (const char *const *name = refused_names; *name; name++) {
        char start[64] = ": ";
        strcat(strcat(start, *name), ": ");
        const char *first = strstr(said, start);
        CHECK(first != NULL);
        CHECK(strstr(first + 1, start) == NULL);
    }
}
