/* SPDX-License-Identifier: BSD-3-Clause */
/* descriptors.c - calls on descriptors that move no bytes of the program's, or in their own form.
 */
#define _GNU_SOURCE
#include "syscalls/syscalls.h"
#include "trap/calls.h"
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>

const bool dsm_wraps_descriptors = true;

/* clang-format off */
CALL(MINUS_ONE, int, pipe, (int *fds), (fds), OUT(fds, 2 * sizeof *fds))
CALL(MINUS_ONE, int, pipe2, (int *fds, int flags), (fds, flags), OUT(fds, 2 * sizeof *fds))
CALL(MINUS_ONE, int, eventfd_read, (int fd, eventfd_t *value), (fd, value),
     OUT(value, sizeof *value))
CALL(MINUS_ONE, int, signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags),
     IN(mask, sizeof *mask))
CALL(MINUS_ONE, int, inotify_add_watch, (int fd, const char *path, uint32_t events),
     (fd, path, events), STRING(path))
CALL(MINUS_ONE, ssize_t, getdents64, (int fd, void *out, size_t len), (fd, out, len),
     OUT_USED(out, len, ok ? (size_t)result : 0))

/* Bytes that stay in the kernel, with offsets that it moves on. */
CALL(MINUS_ONE, ssize_t, sendfile, (int to, int from, off_t *offset, size_t len),
     (to, from, offset, len), INOUT(offset, sizeof *offset))
CALL(MINUS_ONE, ssize_t, sendfile64, (int to, int from, off_t *offset, size_t len),
     (to, from, offset, len), INOUT(offset, sizeof *offset))
CALL(MINUS_ONE, ssize_t, splice,
     (int from, off_t *from_offset, int to, off_t *to_offset, size_t len, unsigned flags),
     (from, from_offset, to, to_offset, len, flags),
     INOUT(from_offset, sizeof *from_offset), INOUT(to_offset, sizeof *to_offset))
CALL(MINUS_ONE, ssize_t, copy_file_range,
     (int from, off_t *from_offset, int to, off_t *to_offset, size_t len, unsigned flags),
     (from, from_offset, to, to_offset, len, flags),
     INOUT(from_offset, sizeof *from_offset), INOUT(to_offset, sizeof *to_offset))

/* The last argument is memory for some commands, and a number for the others. */
#define FCNTL(name)                                                                                \
    CALL(MINUS_ONE, int, name, (int fd, int command, void *argument), (fd, command, argument),     \
         INOUT_USED(argument, fcntl_bytes(command), ok && is_asked(command) ? fcntl_bytes(command) : 0))
/* clang-format on */

static bool is_asked(int command)
{
    return command == F_GETLK || command == F_OFD_GETLK || command == F_GETOWN_EX ||
           command == F_GET_RW_HINT || command == F_GET_FILE_RW_HINT;
}

static size_t fcntl_bytes(int command)
{
    switch (command) {
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return sizeof(struct flock);
    case F_GETOWN_EX:
    case F_SETOWN_EX:
        return sizeof(struct f_owner_ex);
    case F_GET_RW_HINT:
    case F_SET_RW_HINT:
    case F_GET_FILE_RW_HINT:
    case F_SET_FILE_RW_HINT:
        return sizeof(uint64_t);
    default:
        return 0;
    }
}

/* Requests that do not tell how much memory they read or write. */
static const struct request {
    unsigned long number;
    size_t bytes;
    bool is_written;
} old_requests[] = {
    {TCGETS, 36, true}, /* the kernel's struct termios; the C library's is another */
    {TCSETS, 36, false},
    {TCSETSW, 36, false},
    {TCSETSF, 36, false},
    {TCGETA, 18, true},
    {TCSETA, 18, false},
    {TCSETAW, 18, false},
    {TCSETAF, 18, false},
    {TIOCGWINSZ, sizeof(struct winsize), true},
    {TIOCSWINSZ, sizeof(struct winsize), false},
    {TIOCGPGRP, sizeof(int), true},
    {TIOCSPGRP, sizeof(int), false},
    {TIOCGSID, sizeof(int), true},
    {TIOCGETD, sizeof(int), true},
    {TIOCSETD, sizeof(int), false},
    {TIOCOUTQ, sizeof(int), true},
    {TIOCMGET, sizeof(int), true},
    {TIOCMSET, sizeof(int), false},
    {TIOCMBIS, sizeof(int), false},
    {TIOCMBIC, sizeof(int), false},
    {TIOCPKT, sizeof(int), false},
    {TIOCSTI, 1, false},
    {FIONREAD, sizeof(int), true},
    {FIONBIO, sizeof(int), false},
    {FIOASYNC, sizeof(int), false},
    {FIOQSIZE, sizeof(int64_t), true},
    {FIGETBSZ, sizeof(int), true},
    {BLKROGET, sizeof(int), true},
    {BLKROSET, sizeof(int), false},
    {BLKGETSIZE, sizeof(long), true},
    {BLKSSZGET, sizeof(int), true},
    {BLKRAGET, sizeof(long), true},
    {SIOCATMARK, sizeof(int), true},
    {SIOCGPGRP, sizeof(int), true},
    {SIOCSPGRP, sizeof(int), false},
    {FIOGETOWN, sizeof(int), true},
    {FIOSETOWN, sizeof(int), false},
};

/* The memory of a request; 0 bytes: unknown, or a number. */
static struct request request_of(unsigned long number)
{
    for (size_t i = 0; i < sizeof old_requests / sizeof *old_requests; i++) {
        if (old_requests[i].number == number)
            return old_requests[i];
    }
    if (number >= SIOCGIFNAME && number <= SIOCSIFHWBROADCAST && number != SIOCGIFCONF)
        return (struct request){number, sizeof(struct ifreq), true};
    if (_IOC_DIR(number) == _IOC_NONE)
        return (struct request){number, 0, false};
    return (struct request){number, _IOC_SIZE(number), (_IOC_DIR(number) & _IOC_READ) != 0};
}

/* clang-format off */
FCNTL(fcntl)
FCNTL(fcntl64)

#define TOUCHES_REQUEST(p, number) dsm_bounce_touches(p, 1)
#define TAKE_REQUEST(p, number)                                                                    \
    const struct request request = request_of(number);                                             \
    p = dsm_bounce_in(&bounce, p, request.bytes)
#define GIVE_REQUEST(p, number)                                                                    \
    dsm_bounce_give(&bounce, p, ok && request.is_written ? request.bytes : 0)
CALL(MINUS_ONE, int, ioctl, (int fd, unsigned long number, void *argument),
     (fd, number, argument), REQUEST(argument, number))
/* clang-format on */
