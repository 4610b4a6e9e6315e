/* SPDX-License-Identifier: BSD-3-Clause */
/* net_shm_test.c - streams through shared memory: bytes, bells, and memory that is not what it
 * says. */
#define _GNU_SOURCE
#include "net/shm.h"
#include "base/rng.h"
#include <check.h>
#include <dsm/dsm.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define RING     DSM_SHM_RING_MIN_BYTES
#define GUARD_MS 60000
#define TAKEN_AT 128 /* in the control fields of a ring; what the writer tells is at 0 */

/* Both ends of one memory. */
struct pair {
    struct dsm_shm a, b;
};

static void open_pair(struct pair *p)
{
    struct dsm_shm_name name;
    char why[200];
    ck_assert_int_eq(dsm_shm_create(&p->a, RING, 4711, &name), 0);
    ck_assert_msg(dsm_shm_open(&p->b, &name, why, sizeof why) == 0, "%s", why);
    dsm_shm_close_name(&p->a);
}

static void close_pair(struct pair *p)
{
    dsm_shm_close(&p->a);
    dsm_shm_close(&p->b);
}

static long put(struct dsm_shm_end *tx, const void *bytes, size_t len)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    return dsm_shm_write(tx, &iov, 1);
}

static long get(struct dsm_shm_end *rx, void *bytes, size_t len)
{
    struct iovec iov = {bytes, len};
    return dsm_shm_read(rx, &iov, 1);
}

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 0x9e3779b97f4a7c15u >> 56);
}

START_TEST(bytes_come_out_as_they_went_in)
{
    struct pair p;
    uint64_t rng = 5, in = 0, out = 0, n_wrong = 0;
    uint8_t bytes[3][40000];
    open_pair(&p);
    struct dsm_shm_end *tx = _i ? &p.a.tx : &p.b.tx, *rx = _i ? &p.b.rx : &p.a.rx;
    for (unsigned round = 0; round < 4000; round++) {
        struct iovec iov[3];
        bool is_write = dsm_rng_below(&rng, 2);
        size_t asked = 0;
        for (unsigned i = 0; i < 3; i++) {
            iov[i] = (struct iovec){bytes[i], dsm_rng_below(&rng, 10) ? dsm_rng_below(&rng, 300)
                                                                      : sizeof bytes[i]};
            for (size_t k = 0; k < iov[i].iov_len; k++)
                bytes[i][k] = byte_at(in + asked + k);
            asked += iov[i].iov_len;
        }
        uint64_t most = is_write ? RING - (in - out) : in - out;
        uint64_t expected = asked < most ? asked : most;
        long n = is_write ? dsm_shm_write(tx, iov, 3) : dsm_shm_read(rx, iov, 3);
        if (expected == 0)
            ck_assert_int_eq(n, -EAGAIN);
        else
            ck_assert_int_eq(n, (long)expected);
        if (is_write) {
            in += expected;
            continue;
        }
        for (unsigned i = 0; i < 3; i++)
            for (size_t k = 0; k < iov[i].iov_len && expected > 0; k++, expected--)
                n_wrong += bytes[i][k] != byte_at(out++);
        ck_assert_uint_eq(n_wrong, 0);
        ck_assert_int_eq(dsm_shm_has_bytes(rx), in != out);
        ck_assert_int_eq(dsm_shm_is_empty(tx), in == out);
    }
    ck_assert_uint_gt(out, 4 * RING);
    close_pair(&p);
}
END_TEST

START_TEST(a_bell_is_due_once_for_each_time_it_was_wanted)
{
    struct pair p;
    uint8_t byte = 0;
    open_pair(&p);
    ck_assert_int_eq(put(&p.a.tx, &byte, 1), 1);
    ck_assert(dsm_shm_is_bell_due(&p.a.tx)); /* nobody looks at a new ring */
    ck_assert_int_eq(put(&p.a.tx, &byte, 1), 1);
    ck_assert(!dsm_shm_is_bell_due(&p.a.tx));
    ck_assert(dsm_shm_want_bytes(&p.b.rx)); /* there is something already */
    ck_assert(dsm_shm_is_bell_due(&p.a.tx));
    ck_assert_int_eq(get(&p.b.rx, &byte, 1), 1);
    ck_assert_int_eq(get(&p.b.rx, &byte, 1), 1);
    ck_assert(!dsm_shm_want_bytes(&p.b.rx));
    dsm_shm_want_no_bytes(&p.b.rx);
    ck_assert_int_eq(put(&p.a.tx, &byte, 1), 1);
    ck_assert(!dsm_shm_is_bell_due(&p.a.tx));
    ck_assert(!dsm_shm_is_bell_due(&p.b.tx) || dsm_shm_is_empty(&p.b.tx)); /* the other way */
    close_pair(&p);
}
END_TEST

START_TEST(room_is_told_to_who_waits_for_it)
{
    struct pair p;
    uint8_t bytes[RING] = {0};
    open_pair(&p);
    ck_assert_int_eq(put(&p.a.tx, bytes, sizeof bytes), RING);
    ck_assert_int_eq(put(&p.a.tx, bytes, 1), -EAGAIN);
    ck_assert_int_eq(get(&p.b.rx, bytes, 1), 1);
    ck_assert(!dsm_shm_is_room_bell_due(&p.b.rx)); /* nobody asked */
    ck_assert(dsm_shm_want_room(&p.a.tx));         /* there is some */
    ck_assert_int_eq(put(&p.a.tx, bytes, 1), 1);
    ck_assert(!dsm_shm_want_room(&p.a.tx));
    ck_assert_int_eq(get(&p.b.rx, bytes, 1), 1);
    ck_assert(dsm_shm_is_room_bell_due(&p.b.rx));
    ck_assert(!dsm_shm_is_room_bell_due(&p.b.rx));
    close_pair(&p);
}
END_TEST

START_TEST(a_spoiled_ring_is_not_believed)
{
    struct pair p;
    uint8_t byte = 0;
    open_pair(&p);
    *(uint64_t *)(void *)p.b.rx.control = RING + 1;
    ck_assert_int_eq(get(&p.b.rx, &byte, 1), -EPROTO);
    *(uint64_t *)(void *)((uint8_t *)p.b.tx.control + TAKEN_AT) = 1; /* more than was written */
    ck_assert_int_eq(put(&p.b.tx, &byte, 1), -EPROTO);
    close_pair(&p);
}
END_TEST

static int open_as(struct dsm_shm_name name)
{
    struct dsm_shm shm;
    char why[200] = "";
    int error = dsm_shm_open(&shm, &name, why, sizeof why);
    ck_assert_ptr_null(shm.memory);
    ck_assert_str_ne(why, "");
    return error;
}

START_TEST(memory_that_was_not_offered_is_not_opened)
{
    struct dsm_shm made, wrong;
    struct dsm_shm_name name, odd;
    int ends[2];
    ck_assert_int_eq(dsm_shm_create(&made, RING, 1, &name), 0);
    odd = name;
    odd.nonce++;
    ck_assert_int_eq(open_as(odd), DSM_E_MISMATCH);
    odd = name;
    odd.pid_namespace++;
    ck_assert_int_eq(open_as(odd), DSM_E_MISMATCH);
    odd = name;
    odd.fd = 1u << 30;
    ck_assert_int_eq(open_as(odd), DSM_E_SYSTEM);
    odd.fd = UINT32_MAX;
    odd.pid = UINT32_MAX;
    ck_assert_int_eq(open_as(odd), DSM_E_SYSTEM);
    /* A pipe that nobody writes to, a file, and memory that could shrink under us. */
    ck_assert_int_eq(pipe(ends), 0);
    odd = name;
    odd.fd = (uint32_t)ends[0];
    ck_assert_int_eq(open_as(odd), DSM_E_MISMATCH);
    odd.fd = (uint32_t)open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ne(open_as(odd), 0);
    close((int)odd.fd);
    odd.fd = (uint32_t)memfd_create("odd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(ftruncate((int)odd.fd, (off_t)made.len_bytes), 0);
    ck_assert_int_eq(open_as(odd), DSM_E_MISMATCH);
    close((int)odd.fd);
    close(ends[0]);
    close(ends[1]);
    ck_assert_int_eq(dsm_shm_create(&wrong, RING + 1, 1, &odd), DSM_E_INVAL);
    struct rlimit limit = {.rlim_cur = 2 * RING, .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0); /* this test has a process of its own */
    ck_assert_int_eq(dsm_shm_create(&wrong, RING, 1, &odd), DSM_E_LIMIT);
    dsm_shm_close(&made);
}
END_TEST

/* ---- two sides that sleep ---- */

struct side {
    struct dsm_shm_end *end;
    int bell_fd, other_bell_fd;
    uint64_t seed;
    const char *trouble;
};

#define STREAM_BYTES (24u << 20)

static void ring(int fd)
{
    uint64_t one = 1;
    (void)!write(fd, &one, sizeof one);
}

static bool sleep_for_bell(struct side *s)
{
    struct pollfd p = {.fd = s->bell_fd, .events = POLLIN};
    uint64_t n;
    if (poll(&p, 1, GUARD_MS) != 1) {
        s->trouble = "no bell came";
        return false;
    }
    (void)!read(s->bell_fd, &n, sizeof n);
    return true;
}

static void *write_all(void *side)
{
    struct side *s = side;
    uint8_t bytes[8192];
    for (uint64_t done = 0; done < STREAM_BYTES && !s->trouble;) {
        size_t len = 1 + dsm_rng_below(&s->seed, dsm_rng_below(&s->seed, 4) ? 100 : sizeof bytes);
        for (size_t k = 0; k < len; k++)
            bytes[k] = byte_at(done + k);
        if (len > STREAM_BYTES - done)
            len = STREAM_BYTES - done;
        long n = put(s->end, bytes, len);
        if (n > 0) {
            done += (uint64_t)n;
            if (dsm_shm_is_bell_due(s->end))
                ring(s->other_bell_fd);
        } else if (n != -EAGAIN) {
            s->trouble = "the ring is spoiled";
        } else if (!dsm_shm_want_room(s->end) && !sleep_for_bell(s)) {
            break;
        }
    }
    return NULL;
}

static void *read_all(void *side)
{
    struct side *s = side;
    uint8_t bytes[8192];
    for (uint64_t done = 0; done < STREAM_BYTES && !s->trouble;) {
        long n = get(s->end, bytes, 1 + dsm_rng_below(&s->seed, sizeof bytes));
        if (n > 0) {
            for (long k = 0; k < n; k++)
                if (bytes[k] != byte_at(done++))
                    s->trouble = "a wrong byte";
            if (dsm_shm_is_room_bell_due(s->end))
                ring(s->other_bell_fd);
        } else if (n != -EAGAIN) {
            s->trouble = "the ring is spoiled";
        } else if (!dsm_shm_want_bytes(s->end) && !sleep_for_bell(s)) {
            break;
        }
    }
    return NULL;
}

START_TEST(a_pipe_takes_bells_when_its_reader_is_gone)
{
    struct dsm_shm_file name;
    char why[200];
    int fds[2], fd = -1;
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(dsm_shm_name_file(fds[0], &name), 0);
    ck_assert_msg(dsm_shm_open_pipe(&name, &fd, why, sizeof why) == 0, "%s", why);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    char byte = 'b';
    ck_assert_int_eq(write(fd, &byte, 1), 1);
    byte = 0;
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'b');
    close(fds[0]);
    close(fds[1]);
    while (write(fd, &byte, 1) == 1) /* no SIGPIPE, and it never waits */
        ;
    ck_assert_int_eq(errno, EAGAIN);
    close(fd);
}
END_TEST

START_TEST(a_pipe_that_was_not_offered_is_not_opened)
{
    struct dsm_shm_file name, other;
    char why[200];
    int fds[2], fd = -1, file = memfd_create("other", MFD_CLOEXEC);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(dsm_shm_name_file(fds[0], &name), 0);
    other = name;
    other.inode++;
    ck_assert_int_eq(dsm_shm_open_pipe(&other, &fd, why, sizeof why), DSM_E_MISMATCH);
    ck_assert_msg(strstr(why, "not what was offered") != NULL, "%s", why);
    ck_assert_int_eq(dsm_shm_name_file(file, &other), 0);
    ck_assert_int_eq(dsm_shm_open_pipe(&other, &fd, why, sizeof why), DSM_E_MISMATCH);
    close(fds[0]);
    close(fds[1]);
    ck_assert_int_eq(dsm_shm_open_pipe(&name, &fd, why, sizeof why), DSM_E_SYSTEM);
    ck_assert_msg(strstr(why, "No such file") != NULL, "%s", why);
    ck_assert_int_eq(fd, -1);
    close(file);
}
END_TEST

START_TEST(no_bell_is_lost)
{
    struct pair p;
    pthread_t writer, reader;
    open_pair(&p);
    struct side w = {.end = &p.a.tx, .bell_fd = eventfd(0, 0), .seed = 1};
    struct side r = {.end = &p.b.rx, .bell_fd = eventfd(0, 0), .seed = 2};
    w.other_bell_fd = r.bell_fd;
    r.other_bell_fd = w.bell_fd;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_all, &w), 0);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &r), 0);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    ck_assert_msg(!w.trouble, "writer: %s", w.trouble);
    ck_assert_msg(!r.trouble, "reader: %s", r.trouble);
    ck_assert(dsm_shm_is_empty(&p.a.tx));
    close(w.bell_fd);
    close(r.bell_fd);
    close_pair(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shared memory");
    TCase *tcase = tcase_create("shm");
    tcase_set_timeout(tcase, 2 * GUARD_MS / 1000);
    tcase_add_loop_test(tcase, bytes_come_out_as_they_went_in, 0, 2);
    tcase_add_test(tcase, a_bell_is_due_once_for_each_time_it_was_wanted);
    tcase_add_test(tcase, room_is_told_to_who_waits_for_it);
    tcase_add_test(tcase, a_spoiled_ring_is_not_believed);
    tcase_add_test(tcase, memory_that_was_not_offered_is_not_opened);
    tcase_add_test(tcase, a_pipe_takes_bells_when_its_reader_is_gone);
    tcase_add_test(tcase, a_pipe_that_was_not_offered_is_not_opened);
    tcase_add_test(tcase, no_bell_is_lost);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
