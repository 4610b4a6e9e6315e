/* SPDX-License-Identifier: BSD-3-Clause */
/* shm.c - see shm.h. */
#define _GNU_SOURCE
#include "net/shm.h"
#include "base/errors.h"
#include "base/log.h"
#include "net/sys.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTROL_BYTES 4096u
/* In the first page: who made it, before the control fields of the first ring. */
#define LINE_BYTES 128u /* adjacent lines are fetched in pairs */
/* What is written is shown to the reader in such pieces, so that both work at once. */
#define PIECE_BYTES (16u << 10)
#define SEALS       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* The two sides write to different lines. */
struct dsm_shm_control {
    _Alignas(LINE_BYTES) _Atomic uint64_t written;
    _Atomic uint32_t wants_room; /* the writer sets it, the reader takes it */
    _Alignas(LINE_BYTES) _Atomic uint64_t taken;
    _Atomic uint32_t wants_bytes; /* the reader sets it, the writer takes it */
    _Alignas(LINE_BYTES) uint64_t nonce;
};
_Static_assert(sizeof(struct dsm_shm_control) <= CONTROL_BYTES, "one page");

static uint64_t pid_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) ? 0 : st.st_ino;
}

/* Ring i: its control page, then its bytes. */
static void set_end(struct dsm_shm_end *end, uint8_t *memory, size_t ring_bytes, unsigned i)
{
    uint8_t *at = memory + i * (CONTROL_BYTES + ring_bytes);
    end->control = (struct dsm_shm_control *)at;
    end->data = at + CONTROL_BYTES;
    end->size_bytes = ring_bytes;
    atomic_init(&end->position, 0);
}

/* Neither a child nor a core dump has it. */
static int map(int fd, size_t len_bytes, void **memory_out)
{
    /* Raw, like the closing: TSan does not know memfd_create, and takes the descriptor for the
     * socket that had its number before, which is closed without its knowledge (sys.h). */
    void *memory = (void *)syscall(SYS_mmap, 0L, len_bytes, (long)(PROT_READ | PROT_WRITE),
                                   (long)(MAP_SHARED | MAP_NORESERVE), (long)fd, 0L);
    if (memory == MAP_FAILED)
        return dsm_error_from_errno(errno);
    (void)madvise(memory, len_bytes, MADV_DONTFORK);
    (void)madvise(memory, len_bytes, MADV_DONTDUMP);
    *memory_out = memory;
    return 0;
}

/* Growing a file beyond the limit would be a signal, not an error. */
static bool is_file_size_allowed(size_t len_bytes)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && len_bytes <= limit.rlim_cur;
}

static bool is_ring_size(uint64_t bytes)
{
    return bytes >= DSM_SHM_RING_MIN_BYTES && bytes <= DSM_SHM_RING_MAX_BYTES &&
           (bytes & (bytes - 1)) == 0;
}

int dsm_shm_create(struct dsm_shm *shm, size_t ring_bytes, uint64_t nonce,
                   struct dsm_shm_name *name_out)
{
    *shm = (struct dsm_shm){.fd = -1};
    *name_out = (struct dsm_shm_name){
        .pid_namespace = pid_namespace(), .pid = (uint32_t)getpid(), .nonce = nonce};
    if (!is_ring_size(ring_bytes))
        return DSM_E_INVAL;
    size_t len_bytes = 2 * (CONTROL_BYTES + ring_bytes);
    if (!is_file_size_allowed(len_bytes))
        return DSM_E_LIMIT;
    shm->fd = memfd_create("dsm-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* All of it now: a ring that finds no memory later would be a SIGBUS in the fault path. */
    if (name_out->pid_namespace == 0 || shm->fd < 0 || fallocate(shm->fd, 0, 0, (off_t)len_bytes) ||
        fcntl(shm->fd, F_ADD_SEALS, SEALS)) {
        int error = errno ? dsm_error_from_errno(errno) : DSM_E_SYSTEM;
        dsm_shm_close(shm);
        return error;
    }
    int error = map(shm->fd, len_bytes, &shm->memory);
    if (error) {
        dsm_shm_close(shm);
        return error;
    }
    shm->len_bytes = len_bytes;
    set_end(&shm->tx, shm->memory, ring_bytes, 0);
    set_end(&shm->rx, shm->memory, ring_bytes, 1);
    shm->tx.control->nonce = nonce;
    atomic_store(&shm->tx.control->wants_bytes, 1); /* nobody looks at a new ring */
    atomic_store(&shm->rx.control->wants_bytes, 1);
    name_out->fd = (uint32_t)shm->fd;
    shm->nonce = nonce;
    return 0;
}

/* What a process of this host has open, if it is of this type (S_IFMT) and has this inode (0: any),
 * or a negative errno. Opening something else that has this number by now must not wait for
 * anything. */
static int open_proc_fd(uint32_t pid, uint32_t number, mode_t type, uint64_t inode,
                        struct stat *st_out)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/fd/%u", pid, number);
    if (stat(path, st_out))
        return -errno;
    /* Opening some things does something, to a pipe of others as well. */
    if ((st_out->st_mode & S_IFMT) != type || (inode && st_out->st_ino != inode))
        return -EBADF;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? -errno : fd;
}

/* A memfd, or a negative errno. */
static int open_memfd(uint32_t pid, uint32_t number, int seals, struct stat *st_out)
{
    int fd = open_proc_fd(pid, number, S_IFREG, 0, st_out);
    if (fd < 0)
        return fd;
    int has = fcntl(fd, F_GET_SEALS);
    if (has < 0 || (has & seals) != seals || fstat(fd, st_out) || st_out->st_size < 0) {
        dsm_sys_close(fd);
        return -EBADF;
    }
    return fd;
}

static int tell_not_opened(uint32_t pid, uint32_t number, int error_number, char *why,
                           size_t why_bytes)
{
    dsm_format(why, why_bytes, "/proc/%u/fd/%u: %s", pid, number,
               error_number == EBADF ? "not what was offered" : strerrordesc_np(error_number));
    return error_number == EBADF ? DSM_E_MISMATCH : DSM_E_SYSTEM;
}

int dsm_shm_name_file(int fd, struct dsm_shm_file *file_out)
{
    struct stat st;
    if (fstat(fd, &st))
        return dsm_error_from_errno(errno);
    *file_out = (struct dsm_shm_file){(uint32_t)getpid(), (uint32_t)fd, st.st_ino};
    return 0;
}

int dsm_shm_open_file(const struct dsm_shm_file *file, uint64_t len_bytes, int *fd_out,
                      void **memory_out, char *why, size_t why_bytes)
{
    struct stat st;
    int fd = open_memfd(file->pid, file->fd, 0, &st);
    if (fd >= 0 && (st.st_ino != file->inode || (uint64_t)st.st_size != len_bytes)) {
        dsm_sys_close(fd);
        fd = -EBADF;
    }
    if (fd < 0)
        return tell_not_opened(file->pid, file->fd, -fd, why, why_bytes);
    int error = map(fd, len_bytes, memory_out);
    if (error) {
        dsm_sys_close(fd);
        dsm_format(why, why_bytes, "mapping it: %s", dsm_error_text(error));
        return error;
    }
    (void)madvise(*memory_out, len_bytes, MADV_NOHUGEPAGE); /* its owner counts pages */
    *fd_out = fd;
    return 0;
}

int dsm_shm_open_pipe(const struct dsm_shm_file *file, int *fd_out, char *why, size_t why_bytes)
{
    struct stat st;
    int fd = open_proc_fd(file->pid, file->fd, S_IFIFO, file->inode, &st);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISFIFO(st.st_mode) || st.st_ino != file->inode)) {
        dsm_sys_close(fd);
        fd = -EBADF;
    }
    if (fd < 0)
        return tell_not_opened(file->pid, file->fd, -fd, why, why_bytes);
    *fd_out = fd;
    return 0;
}

int dsm_shm_open(struct dsm_shm *shm, const struct dsm_shm_name *name, char *why, size_t why_bytes)
{
    struct stat st;
    *shm = (struct dsm_shm){.fd = -1};
    if (name->pid_namespace == 0 || name->pid_namespace != pid_namespace()) {
        dsm_format(why, why_bytes, "its process is in another pid namespace");
        return DSM_E_MISMATCH;
    }
    int fd = open_memfd(name->pid, name->fd, SEALS, &st);
    size_t len_bytes = fd < 0 ? 0 : (size_t)st.st_size;
    if (fd >= 0 &&
        (len_bytes / 2 < CONTROL_BYTES || !is_ring_size(len_bytes / 2 - CONTROL_BYTES))) {
        dsm_sys_close(fd);
        fd = -EBADF;
    }
    if (fd < 0)
        return tell_not_opened(name->pid, name->fd, -fd, why, why_bytes);
    int error = map(fd, len_bytes, &shm->memory);
    dsm_sys_close(fd);
    if (error) {
        dsm_format(why, why_bytes, "mapping it: %s", dsm_error_text(error));
        return error;
    }
    shm->len_bytes = len_bytes;
    size_t ring_bytes = len_bytes / 2 - CONTROL_BYTES;
    set_end(&shm->rx, shm->memory, ring_bytes, 0);
    set_end(&shm->tx, shm->memory, ring_bytes, 1);
    if (shm->rx.control->nonce != name->nonce) {
        dsm_shm_close(shm);
        dsm_format(why, why_bytes, "/proc/%u/fd/%u: not the memory that was offered", name->pid,
                   name->fd);
        return DSM_E_MISMATCH;
    }
    return 0;
}

void dsm_shm_close_name(struct dsm_shm *shm)
{
    if (shm->fd >= 0)
        dsm_sys_close(shm->fd);
    shm->fd = -1;
}

void dsm_shm_close(struct dsm_shm *shm)
{
    dsm_shm_close_name(shm);
    if (shm->memory)
        munmap(shm->memory, shm->len_bytes);
    *shm = (struct dsm_shm){.fd = -1};
}

/* ---- bytes ---- */

/* Between the ring from this position on and p, around its end. */
static void copy(const struct dsm_shm_end *end, uint64_t position, uint8_t *p, size_t len,
                 bool is_write)
{
    uint64_t at = position & (end->size_bytes - 1);
    size_t first = len < end->size_bytes - at ? len : (size_t)(end->size_bytes - at);
    if (is_write) {
        memcpy(end->data + at, p, first);
        memcpy(end->data, p + first, len - first);
    } else {
        memcpy(p, end->data + at, first);
        memcpy(p + first, end->data, len - first);
    }
}

/* Moves bytes until the buffers or `most` are used up; `shown` is where the other side sees it. */
static long transfer(struct dsm_shm_end *end, const struct iovec *iov, size_t n_iov, uint64_t most,
                     _Atomic uint64_t *shown, bool is_write)
{
    uint64_t position = atomic_load_explicit(&end->position, memory_order_relaxed);
    uint64_t start = position, told = position;
    for (size_t i = 0; i < n_iov && position - start < most; i++) {
        for (size_t done = 0; done < iov[i].iov_len && position - start < most;) {
            size_t part = iov[i].iov_len - done;
            if (part > most - (position - start))
                part = (size_t)(most - (position - start));
            if (part > PIECE_BYTES)
                part = PIECE_BYTES;
            copy(end, position, (uint8_t *)iov[i].iov_base + done, part, is_write);
            done += part;
            position += part;
            if (position - told >= PIECE_BYTES) {
                atomic_store_explicit(shown, position, memory_order_release);
                told = position;
            }
        }
    }
    atomic_store_explicit(&end->position, position, memory_order_relaxed);
    atomic_store_explicit(shown, position, memory_order_release);
    return position == start ? -EAGAIN : (long)(position - start);
}

/* Bytes between the writer and the reader; more than the ring: the other side lies. */
static uint64_t used(const struct dsm_shm_end *tx)
{
    return atomic_load_explicit(&tx->position, memory_order_relaxed) -
           atomic_load_explicit(&tx->control->taken, memory_order_acquire);
}

static uint64_t there(const struct dsm_shm_end *rx)
{
    return atomic_load_explicit(&rx->control->written, memory_order_acquire) -
           atomic_load_explicit(&rx->position, memory_order_relaxed);
}

long dsm_shm_write(struct dsm_shm_end *tx, const struct iovec *iov, size_t n_iov)
{
    uint64_t n = used(tx);
    if (n > tx->size_bytes)
        return -EPROTO;
    return transfer(tx, iov, n_iov, tx->size_bytes - n, &tx->control->written, true);
}

long dsm_shm_read(struct dsm_shm_end *rx, const struct iovec *iov, size_t n_iov)
{
    uint64_t n = there(rx);
    if (n > rx->size_bytes)
        return -EPROTO;
    if (n == 0)
        return -EAGAIN;
    return transfer(rx, iov, n_iov, n, &rx->control->taken, false);
}

bool dsm_shm_has_bytes(const struct dsm_shm_end *rx)
{
    return there(rx) != 0;
}

bool dsm_shm_is_empty(const struct dsm_shm_end *tx)
{
    return used(tx) == 0;
}

/* ---- bells ---- */

/*
 * Who wants sets the flag and looks once more; who moves bytes shows them and looks at the flag.
 * The fence on both sides makes that at least one of the two sees what the other did.
 */
static bool is_due(_Atomic uint32_t *wanted)
{
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(wanted, memory_order_relaxed) && atomic_exchange(wanted, 0);
}

bool dsm_shm_want_bytes(struct dsm_shm_end *rx)
{
    atomic_store_explicit(&rx->control->wants_bytes, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return dsm_shm_has_bytes(rx);
}

void dsm_shm_want_no_bytes(struct dsm_shm_end *rx)
{
    if (atomic_load_explicit(&rx->control->wants_bytes, memory_order_relaxed))
        atomic_store_explicit(&rx->control->wants_bytes, 0, memory_order_relaxed);
}

bool dsm_shm_is_bell_due(struct dsm_shm_end *tx)
{
    return is_due(&tx->control->wants_bytes);
}

bool dsm_shm_want_room(struct dsm_shm_end *tx)
{
    atomic_store_explicit(&tx->control->wants_room, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return used(tx) < tx->size_bytes;
}

bool dsm_shm_is_room_bell_due(struct dsm_shm_end *rx)
{
    return is_due(&rx->control->wants_room);
}
