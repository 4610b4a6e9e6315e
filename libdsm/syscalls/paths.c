/* SPDX-License-Identifier: BSD-3-Clause */
/* paths.c - calls that take paths, and what they say of files. */
#define _GNU_SOURCE
#include "syscalls/syscalls.h"
#include "trap/calls.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <utime.h>

const bool dsm_wraps_paths = true;

/* clang-format off */
/* The mode of the open family is looked at where the flags say so, as by the C library. */
CALL(MINUS_ONE, int, open, (const char *path, int flags, mode_t mode), (path, flags, mode),
     STRING(path))
CALL(MINUS_ONE, int, open64, (const char *path, int flags, mode_t mode), (path, flags, mode),
     STRING(path))
CALL(MINUS_ONE, int, openat, (int dir, const char *path, int flags, mode_t mode),
     (dir, path, flags, mode), STRING(path))
CALL(MINUS_ONE, int, openat64, (int dir, const char *path, int flags, mode_t mode),
     (dir, path, flags, mode), STRING(path))
CALL(MINUS_ONE, int, __open_2, (const char *path, int flags), (path, flags), STRING(path))
CALL(MINUS_ONE, int, __open64_2, (const char *path, int flags), (path, flags), STRING(path))
CALL(MINUS_ONE, int, __openat_2, (int dir, const char *path, int flags), (dir, path, flags),
     STRING(path))
CALL(MINUS_ONE, int, __openat64_2, (int dir, const char *path, int flags), (dir, path, flags),
     STRING(path))
CALL(MINUS_ONE, int, creat, (const char *path, mode_t mode), (path, mode), STRING(path))
CALL(MINUS_ONE, int, creat64, (const char *path, mode_t mode), (path, mode), STRING(path))
CALL(NOTHING, FILE *, fopen, (const char *path, const char *mode), (path, mode), STRING(path))
CALL(NOTHING, FILE *, fopen64, (const char *path, const char *mode), (path, mode), STRING(path))
CALL(NOTHING, FILE *, freopen, (const char *path, const char *mode, FILE *file),
     (path, mode, file), STRING(path))
CALL(NOTHING, FILE *, freopen64, (const char *path, const char *mode, FILE *file),
     (path, mode, file), STRING(path))
CALL(NOTHING, DIR *, opendir, (const char *path), (path), STRING(path))
CALL(MINUS_ONE, int, scandir,
     (const char *path, struct dirent ***list_out, int (*choose)(const struct dirent *),
      int (*order)(const struct dirent **, const struct dirent **)),
     (path, list_out, choose, order), STRING(path))

CALL(MINUS_ONE, int, access, (const char *path, int mode), (path, mode), STRING(path))
CALL(MINUS_ONE, int, eaccess, (const char *path, int mode), (path, mode), STRING(path))
CALL(MINUS_ONE, int, euidaccess, (const char *path, int mode), (path, mode), STRING(path))
CALL(MINUS_ONE, int, faccessat, (int dir, const char *path, int mode, int flags),
     (dir, path, mode, flags), STRING(path))
CALL(MINUS_ONE, int, chdir, (const char *path), (path), STRING(path))
CALL(MINUS_ONE, int, chroot, (const char *path), (path), STRING(path))
CALL(MINUS_ONE, int, chmod, (const char *path, mode_t mode), (path, mode), STRING(path))
CALL(MINUS_ONE, int, fchmodat, (int dir, const char *path, mode_t mode, int flags),
     (dir, path, mode, flags), STRING(path))
CALL(MINUS_ONE, int, chown, (const char *path, uid_t user, gid_t group), (path, user, group),
     STRING(path))
CALL(MINUS_ONE, int, lchown, (const char *path, uid_t user, gid_t group), (path, user, group),
     STRING(path))
CALL(MINUS_ONE, int, fchownat, (int dir, const char *path, uid_t user, gid_t group, int flags),
     (dir, path, user, group, flags), STRING(path))
CALL(MINUS_ONE, int, mkdir, (const char *path, mode_t mode), (path, mode), STRING(path))
CALL(MINUS_ONE, int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode),
     STRING(path))
CALL(MINUS_ONE, int, mkfifo, (const char *path, mode_t mode), (path, mode), STRING(path))
CALL(MINUS_ONE, int, mkfifoat, (int dir, const char *path, mode_t mode), (dir, path, mode),
     STRING(path))
CALL(MINUS_ONE, int, mknod, (const char *path, mode_t mode, dev_t dev), (path, mode, dev),
     STRING(path))
CALL(MINUS_ONE, int, mknodat, (int dir, const char *path, mode_t mode, dev_t dev),
     (dir, path, mode, dev), STRING(path))
CALL(MINUS_ONE, int, rmdir, (const char *path), (path), STRING(path))
CALL(MINUS_ONE, int, unlink, (const char *path), (path), STRING(path))
CALL(MINUS_ONE, int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags),
     STRING(path))
CALL(MINUS_ONE, int, remove, (const char *path), (path), STRING(path))
CALL(MINUS_ONE, int, truncate, (const char *path, off_t len), (path, len), STRING(path))
CALL(MINUS_ONE, int, truncate64, (const char *path, off_t len), (path, len), STRING(path))
CALL(MINUS_ONE, long, pathconf, (const char *path, int name), (path, name), STRING(path))

CALL(MINUS_ONE, int, link, (const char *from, const char *to), (from, to),
     STRING(from), STRING(to))
CALL(MINUS_ONE, int, linkat, (int from_dir, const char *from, int to_dir, const char *to, int flags),
     (from_dir, from, to_dir, to, flags), STRING(from), STRING(to))
CALL(MINUS_ONE, int, symlink, (const char *target, const char *path), (target, path),
     STRING(target), STRING(path))
CALL(MINUS_ONE, int, symlinkat, (const char *target, int dir, const char *path),
     (target, dir, path), STRING(target), STRING(path))
CALL(MINUS_ONE, int, rename, (const char *from, const char *to), (from, to),
     STRING(from), STRING(to))
CALL(MINUS_ONE, int, renameat, (int from_dir, const char *from, int to_dir, const char *to),
     (from_dir, from, to_dir, to), STRING(from), STRING(to))
CALL(MINUS_ONE, int, renameat2,
     (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
     (from_dir, from, to_dir, to, flags), STRING(from), STRING(to))

CALL(MINUS_ONE, ssize_t, readlink, (const char *path, char *out, size_t len), (path, out, len),
     STRING(path), OUT_USED(out, len, ok ? (size_t)result : 0))
CALL(MINUS_ONE, ssize_t, readlinkat, (int dir, const char *path, char *out, size_t len),
     (dir, path, out, len), STRING(path), OUT_USED(out, len, ok ? (size_t)result : 0))

/* struct stat64 and its like are the same here. */
#define STATS(name)                                                                                \
    CALL(MINUS_ONE, int, name, (const char *path, struct stat *out), (path, out),                  \
         STRING(path), OUT(out, sizeof *out))
#define FSTATS(name)                                                                               \
    CALL(MINUS_ONE, int, name, (int fd, struct stat *out), (fd, out), OUT(out, sizeof *out))
#define FSTATSAT(name)                                                                             \
    CALL(MINUS_ONE, int, name, (int dir, const char *path, struct stat *out, int flags),           \
         (dir, path, out, flags), STRING(path), OUT(out, sizeof *out))
STATS(stat)
STATS(stat64)
STATS(lstat)
STATS(lstat64)
FSTATS(fstat)
FSTATS(fstat64)
FSTATSAT(fstatat)
FSTATSAT(fstatat64)
CALL(MINUS_ONE, int, statx,
     (int dir, const char *path, int flags, unsigned mask, struct statx *out),
     (dir, path, flags, mask, out), STRING(path), OUT(out, sizeof *out))

#define STATFS(name, type)                                                                         \
    CALL(MINUS_ONE, int, name, (const char *path, type *out), (path, out),                         \
         STRING(path), OUT(out, sizeof *out))
#define FSTATFS(name, type)                                                                        \
    CALL(MINUS_ONE, int, name, (int fd, type *out), (fd, out), OUT(out, sizeof *out))
STATFS(statfs, struct statfs)
STATFS(statfs64, struct statfs)
STATFS(statvfs, struct statvfs)
STATFS(statvfs64, struct statvfs)
FSTATFS(fstatfs, struct statfs)
FSTATFS(fstatfs64, struct statfs)
FSTATFS(fstatvfs, struct statvfs)
FSTATFS(fstatvfs64, struct statvfs)

CALL(MINUS_ONE, int, utime, (const char *path, const struct utimbuf *times), (path, times),
     STRING(path), IN(times, sizeof *times))
CALL(MINUS_ONE, int, utimes, (const char *path, const struct timeval *times), (path, times),
     STRING(path), IN(times, 2 * sizeof *times))
CALL(MINUS_ONE, int, lutimes, (const char *path, const struct timeval *times), (path, times),
     STRING(path), IN(times, 2 * sizeof *times))
CALL(MINUS_ONE, int, futimes, (int fd, const struct timeval *times), (fd, times),
     IN(times, 2 * sizeof *times))
CALL(MINUS_ONE, int, futimesat, (int dir, const char *path, const struct timeval *times),
     (dir, path, times), STRING(path), IN(times, 2 * sizeof *times))
CALL(MINUS_ONE, int, utimensat,
     (int dir, const char *path, const struct timespec *times, int flags),
     (dir, path, times, flags), STRING(path), IN(times, 2 * sizeof *times))
CALL(MINUS_ONE, int, futimens, (int fd, const struct timespec *times), (fd, times),
     IN(times, 2 * sizeof *times))

/* Attributes: of a path, of a link, of a descriptor. */
#define ATTRIBUTES(prefix, type, of, ...)                                                          \
    CALL(MINUS_ONE, ssize_t, prefix##getxattr,                                                     \
         (type of, const char *name, void *value, size_t len), (of, name, value, len),             \
         STRING(name), OUT_USED(value, len, ok && len > 0 ? (size_t)result : 0) __VA_ARGS__)       \
    CALL(MINUS_ONE, int, prefix##setxattr,                                                         \
         (type of, const char *name, const void *value, size_t len, int flags),                    \
         (of, name, value, len, flags), STRING(name), IN(value, len) __VA_ARGS__)                  \
    CALL(MINUS_ONE, ssize_t, prefix##listxattr, (type of, char *list, size_t len),                 \
         (of, list, len), OUT_USED(list, len, ok && len > 0 ? (size_t)result : 0) __VA_ARGS__)     \
    CALL(MINUS_ONE, int, prefix##removexattr, (type of, const char *name), (of, name),             \
         STRING(name) __VA_ARGS__)
#define COMMA ,
ATTRIBUTES(, const char *, path, COMMA STRING(path))
ATTRIBUTES(l, const char *, path, COMMA STRING(path))
ATTRIBUTES(f, int, fd, )

/* Templates, in which the C library writes the name. */
#define TOUCHES_TEMPLATE(s) TOUCHES_STRING(s)
#define TAKE_TEMPLATE(s) TAKE_STRING(s)
#define GIVE_TEMPLATE(s) dsm_bounce_give(&bounce, s, strlen(s) + 1)
CALL(MINUS_ONE, int, mkstemp, (char *name), (name), TEMPLATE(name))
CALL(MINUS_ONE, int, mkstemp64, (char *name), (name), TEMPLATE(name))
CALL(MINUS_ONE, int, mkostemp, (char *name, int flags), (name, flags), TEMPLATE(name))
CALL(MINUS_ONE, int, mkostemp64, (char *name, int flags), (name, flags), TEMPLATE(name))
CALL(MINUS_ONE, int, mkstemps, (char *name, int end), (name, end), TEMPLATE(name))
CALL(MINUS_ONE, int, mkstemps64, (char *name, int end), (name, end), TEMPLATE(name))
CALL(MINUS_ONE, int, mkostemps, (char *name, int end, int flags), (name, end, flags),
     TEMPLATE(name))
CALL(MINUS_ONE, int, mkostemps64, (char *name, int end, int flags), (name, end, flags),
     TEMPLATE(name))

NEXT(NOTHING, char *, mkdtemp, (char *name))
NEXT(NOTHING, char *, realpath, (const char *path, char *out))
NEXT(NOTHING, char *, getcwd, (char *out, size_t len))
/* clang-format on */

WRAPPER(char *, mkdtemp, (char *name))
{
    if (!dsm_bounce_touches(name, 1))
        return next_mkdtemp()(name);
    DSM_BOUNCE(bounce);
    char *copy = dsm_bounce_string(&bounce, name);
    if (bounce.error != 0)
        return FAIL_NOTHING(bounce.error);
    char *result = next_mkdtemp()(copy);
    dsm_bounce_give(&bounce, copy, strlen(copy) + 1);
    return result ? name : NULL;
}

/* On failure, too, there may be something in out: the path that could not be resolved. */
WRAPPER(char *, realpath, (const char *path, char *out))
{
    if (!dsm_bounce_touches(path, 1) && !dsm_bounce_touches(out, PATH_MAX))
        return next_realpath()(path, out);
    DSM_BOUNCE(bounce);
    path = dsm_bounce_string(&bounce, path);
    char *copy = dsm_bounce_out(&bounce, out, PATH_MAX);
    if (bounce.error != 0)
        return FAIL_NOTHING(bounce.error);
    if (copy != out)
        copy[0] = '\0';
    char *result = next_realpath()(path, copy);
    if (copy == out)
        return result;
    dsm_bounce_give(&bounce, copy, copy[0] ? strlen(copy) + 1 : 0);
    return result ? out : NULL;
}

WRAPPER(char *, getcwd, (char *out, size_t len))
{
    if (!dsm_bounce_touches(out, len))
        return next_getcwd()(out, len);
    DSM_BOUNCE(bounce);
    char *copy = dsm_bounce_out(&bounce, out, len);
    if (bounce.error != 0)
        return FAIL_NOTHING(bounce.error);
    char *result = next_getcwd()(copy, len);
    dsm_bounce_give(&bounce, copy, result ? strlen(copy) + 1 : 0);
    return result ? out : NULL;
}

/* What -D_FORTIFY_SOURCE makes of them. */

WRAPPER(char *, __realpath_chk, (const char *path, char *out, size_t room))
{
    if (room < PATH_MAX)
        __chk_fail();
    return wrap_realpath(path, out);
}

WRAPPER(char *, __getcwd_chk, (char *out, size_t len, size_t room))
{
    if (len > room)
        __chk_fail();
    return wrap_getcwd(out, len);
}

WRAPPER(ssize_t, __readlink_chk, (const char *path, char *out, size_t len, size_t room))
{
    if (len > room)
        __chk_fail();
    return wrap_readlink(path, out, len);
}

WRAPPER(ssize_t, __readlinkat_chk, (int dir, const char *path, char *out, size_t len, size_t room))
{
    if (len > room)
        __chk_fail();
    return wrap_readlinkat(dir, path, out, len);
}
