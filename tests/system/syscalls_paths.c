/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls_paths.c - calls that take paths, and what they say of files. */
#define _GNU_SOURCE
#include "syscalls.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

/* What -D_FORTIFY_SOURCE calls. */
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
char *__realpath_chk(const char *, char *, size_t);
char *__getcwd_chk(char *, size_t, size_t);
ssize_t __readlink_chk(const char *, char *, size_t, size_t);
ssize_t __readlinkat_chk(int, const char *, char *, size_t, size_t);

/* 0 or -1; the number of a descriptor is not compared. */
static int closed(int fd)
{
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return fd >= 0 ? 0 : -1;
}

static int file_closed(FILE *f)
{
    int error = errno;
    if (f)
        fclose(f);
    errno = error;
    return f ? 0 : -1;
}

/* Modes, sizes and links of the directory as the case left it. */
static void record_directory(struct arena *a)
{
    long sum = 0;
    struct stat s;
    DIR *d = opendir(".");
    CHECK(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue; /* others make directories there */
        CHECK(lstat(e->d_name, &s) == 0);
        long one = (long)s.st_mode * 31 + (long)s.st_nlink * 7;
        if (S_ISREG(s.st_mode))
            one += s.st_size + (s.st_mtime < 1000000 ? s.st_mtime : 0);
        for (const char *c = e->d_name; *c; c++)
            one = one * 33 + *c;
        sum += one & INT32_MAX;
    }
    closedir(d);
    errno = 0;
    record(a, sum);
}

static void make_files(void)
{
    close(pattern_file("data", 100));
    CHECK(mkdir("directory", 0755) == 0);
    CHECK(symlink("data", "link") == 0);
}

/* A call that works, and one with a path that is not there. */
#define PATHS(first, second, call)                                                                 \
    make_files();                                                                                  \
    char *p = put_string(a, first), *q = put_string(a, second);                                    \
    (void)q;                                                                                       \
    RESULT(a, call);                                                                               \
    strcpy(p, "x/");                                                                               \
    RESULT(a, call);                                                                               \
    record_directory(a)

/* clang-format off */
CASE(open) { PATHS("data", "", closed(open(p, O_RDWR))); }
CASE(open64) { PATHS("created", "", closed(open64(p, O_RDWR | O_CREAT, 0640))); }
CASE(openat) { PATHS("data", "", closed(openat(AT_FDCWD, p, O_RDONLY))); }
CASE(openat64) { PATHS("data", "", closed(openat64(AT_FDCWD, p, O_RDONLY))); }
CASE(__open_2) { PATHS("data", "", closed(__open_2(p, O_RDONLY))); }
CASE(__open64_2) { PATHS("data", "", closed(__open64_2(p, O_RDONLY))); }
CASE(__openat_2) { PATHS("data", "", closed(__openat_2(AT_FDCWD, p, O_RDONLY))); }
CASE(__openat64_2) { PATHS("data", "", closed(__openat64_2(AT_FDCWD, p, O_RDONLY))); }
CASE(creat) { PATHS("created", "", closed(creat(p, 0600))); }
CASE(creat64) { PATHS("created", "", closed(creat64(p, 0604))); }
CASE(fopen) { PATHS("data", "r+", file_closed(fopen(p, q))); }
CASE(fopen64) { PATHS("created", "w", file_closed(fopen64(p, q))); }
CASE(freopen) { PATHS("data", "r", file_closed(freopen(p, q, fopen("data", "a")))); }
CASE(freopen64) { PATHS("data", "r", file_closed(freopen64(p, q, fopen("data", "a")))); }
CASE(access) { PATHS("data", "", access(p, R_OK)); }
CASE(eaccess) { PATHS("data", "", eaccess(p, R_OK)); }
CASE(euidaccess) { PATHS("data", "", euidaccess(p, R_OK)); }
CASE(faccessat) { PATHS("data", "", faccessat(AT_FDCWD, p, R_OK, 0)); }
CASE(chmod) { PATHS("data", "", chmod(p, 0604)); }
CASE(fchmodat) { PATHS("data", "", fchmodat(AT_FDCWD, p, 0644, 0)); }
CASE(chown) { PATHS("data", "", chown(p, (uid_t)-1, (gid_t)-1)); }
CASE(lchown) { PATHS("link", "", lchown(p, (uid_t)-1, (gid_t)-1)); }
CASE(fchownat) { PATHS("data", "", fchownat(AT_FDCWD, p, (uid_t)-1, (gid_t)-1, 0)); }
CASE(mkdir) { PATHS("new", "", mkdir(p, 0750)); }
CASE(mkdirat) { PATHS("new", "", mkdirat(AT_FDCWD, p, 0700)); }
CASE(mkfifo) { PATHS("new", "", mkfifo(p, 0640)); }
CASE(mkfifoat) { PATHS("new", "", mkfifoat(AT_FDCWD, p, 0600)); }
CASE(mknod) { PATHS("new", "", mknod(p, S_IFIFO | 0600, 0)); }
CASE(mknodat) { PATHS("new", "", mknodat(AT_FDCWD, p, S_IFREG | 0600, 0)); }
CASE(rmdir) { PATHS("directory", "", rmdir(p)); }
CASE(unlink) { PATHS("data", "", unlink(p)); }
CASE(unlinkat) { PATHS("directory", "", unlinkat(AT_FDCWD, p, AT_REMOVEDIR)); }
CASE(remove) { PATHS("link", "", remove(p)); }
CASE(truncate) { PATHS("data", "", truncate(p, 33)); }
CASE(truncate64) { PATHS("data", "", truncate64(p, 333)); }
CASE(pathconf) { PATHS("data", "", pathconf(p, _PC_NAME_MAX)); }
CASE(link) { PATHS("data", "new", link(p, q)); }
CASE(linkat) { PATHS("data", "new", linkat(AT_FDCWD, p, AT_FDCWD, q, 0)); }
CASE(symlink) { PATHS("target", "new", symlink(p, q)); }
CASE(symlinkat) { PATHS("target", "new", symlinkat(p, AT_FDCWD, q)); }
CASE(rename) { PATHS("data", "new", rename(p, q)); }
CASE(renameat) { PATHS("data", "new", renameat(AT_FDCWD, p, AT_FDCWD, q)); }
CASE(renameat2) { PATHS("data", "link", renameat2(AT_FDCWD, p, AT_FDCWD, q, RENAME_EXCHANGE)); }
/* clang-format on */

CASE(chdir)
{
    make_files();
    char *p = put_string(a, "directory");
    RESULT(a, chdir(p));
    RESULT(a, access("../data", F_OK));
    CHECK(chdir("..") == 0);
    memset(p = room(a, PATH_MAX + 100), 'd', PATH_MAX + 100);
    RESULT(a, chdir(p)); /* too long, and without an end */
}

CASE(chroot) /* fails for everybody: root would not come back */
{
    char *p = put_string(a, "none");
    RESULT(a, chroot(p) == -1 && (errno == ENOENT || errno == EPERM));
}

CASE(opendir)
{
    make_files();
    char *p = put_string(a, "directory");
    for (int i = 0; i < 2; i++) {
        DIR *d = POINTER(a, opendir(p));
        if (d)
            closedir(d);
        strcpy(p, "none");
    }
}

CASE(scandir)
{
    make_files();
    char *p = put_string(a, ".");
    struct dirent **list;
    int n = (int)RESULT(a, scandir(p, &list, NULL, alphasort));
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
    strcpy(p, "x");
    RESULT(a, scandir(p, &list, NULL, alphasort));
}

#define LINKS(call)                                                                                \
    make_files();                                                                                  \
    char *p = put_string(a, "link"), *out = room(a, 50);                                           \
    size_t len = 50;                                                                               \
    RESULT(a, call);                                                                               \
    len = 2;                                                                                       \
    RESULT(a, call);                                                                               \
    strcpy(p, "data");                                                                             \
    RESULT(a, call)

/* clang-format off */
CASE(readlink) { LINKS(readlink(p, out, len)); }
CASE(readlinkat) { LINKS(readlinkat(AT_FDCWD, p, out, len)); }
CASE(__readlink_chk) { LINKS(__readlink_chk(p, out, len, 50)); }
CASE(__readlinkat_chk) { LINKS(__readlinkat_chk(AT_FDCWD, p, out, len, 50)); }
/* clang-format on */

/* The same as what goes to private memory. */
#define SAME(type, call)                                                                           \
    make_files();                                                                                  \
    int fd = open("data", O_RDONLY);                                                               \
    char *p = put_string(a, "link");                                                               \
    type *out = room(a, sizeof *out), want, *into = out;                                           \
    (void)p;                                                                                       \
    memset(&want, 0, sizeof want);                                                                 \
    RESULT(a, call);                                                                               \
    into = &want;                                                                                  \
    CHECK((call) == 0);                                                                            \
    CHECK(memcmp(&want, out, sizeof want) == 0);                                                   \
    forget(a, out, sizeof *out);                                                                   \
    into = out;                                                                                    \
    close(fd);                                                                                     \
    fd = -1;                                                                                       \
    strcpy(p, "x");                                                                                \
    RESULT(a, call)

/* clang-format off */
CASE(stat) { SAME(struct stat, stat(p, into)); }
CASE(stat64) { SAME(struct stat64, stat64(p, into)); }
CASE(lstat) { SAME(struct stat, lstat(p, into)); }
CASE(lstat64) { SAME(struct stat64, lstat64(p, into)); }
CASE(fstat) { SAME(struct stat, fstat(fd, into)); }
CASE(fstat64) { SAME(struct stat64, fstat64(fd, into)); }
CASE(fstatat) { SAME(struct stat, fstatat(AT_FDCWD, p, into, 0)); }
CASE(fstatat64) { SAME(struct stat64, fstatat64(AT_FDCWD, p, into, 0)); }
CASE(statx) { SAME(struct statx, statx(AT_FDCWD, p, 0, STATX_BASIC_STATS, into)); }
/* clang-format on */

/* A file system's free blocks change while others write. */
#define FILE_SYSTEM(type, call, name_max)                                                          \
    close(pattern_file("data", 10));                                                               \
    int fd = open("data", O_RDONLY);                                                               \
    char *p = put_string(a, "data");                                                               \
    type *out = room(a, sizeof *out);                                                              \
    (void)p;                                                                                       \
    RESULT(a, call);                                                                               \
    record(a, (long)out->name_max);                                                                \
    record(a, (long)out->f_bsize);                                                                 \
    forget(a, out, sizeof *out);                                                                   \
    close(fd);                                                                                     \
    fd = -1;                                                                                       \
    strcpy(p, "x");                                                                                \
    RESULT(a, call)

/* clang-format off */
CASE(statfs) { FILE_SYSTEM(struct statfs, statfs(p, out), f_namelen); }
CASE(statfs64) { FILE_SYSTEM(struct statfs64, statfs64(p, out), f_namelen); }
CASE(fstatfs) { FILE_SYSTEM(struct statfs, fstatfs(fd, out), f_namelen); }
CASE(fstatfs64) { FILE_SYSTEM(struct statfs64, fstatfs64(fd, out), f_namelen); }
CASE(statvfs) { FILE_SYSTEM(struct statvfs, statvfs(p, out), f_namemax); }
CASE(statvfs64) { FILE_SYSTEM(struct statvfs64, statvfs64(p, out), f_namemax); }
CASE(fstatvfs) { FILE_SYSTEM(struct statvfs, fstatvfs(fd, out), f_namemax); }
CASE(fstatvfs64) { FILE_SYSTEM(struct statvfs64, fstatvfs64(fd, out), f_namemax); }
/* clang-format on */

#define TOUCHED(call)                                                                              \
    make_files();                                                                                  \
    int fd = open("data", O_RDWR);                                                                 \
    char *p = put_string(a, "data");                                                               \
    struct timeval *v = put(a, (struct timeval[2]){{1000, 5}, {2000, 6}}, 2 * sizeof *v);          \
    struct timespec *t = put(a, (struct timespec[2]){{1001, 5}, {2001, 6}}, 2 * sizeof *t);        \
    struct utimbuf *b = put(a, &(struct utimbuf){1002, 2002}, sizeof *b);                          \
    (void)p, (void)v, (void)t, (void)b;                                                            \
    RESULT(a, call);                                                                               \
    record_directory(a);                                                                           \
    strcpy(p, "x");                                                                                \
    close(fd);                                                                                     \
    fd = -1;                                                                                       \
    RESULT(a, call)

/* clang-format off */
CASE(utime) { TOUCHED(utime(p, b)); }
CASE(utimes) { TOUCHED(utimes(p, v)); }
CASE(lutimes) { TOUCHED(lutimes(p, v)); }
CASE(futimes) { TOUCHED(futimes(fd, v)); }
CASE(futimesat) { TOUCHED(futimesat(AT_FDCWD, p, v)); }
CASE(utimensat) { TOUCHED(utimensat(AT_FDCWD, p, t, 0)); }
CASE(futimens) { TOUCHED(futimens(fd, t)); }
/* clang-format on */

/* On file systems without attributes both sides fail alike. */
#define ATTRIBUTES(of, name, call)                                                                 \
    make_files();                                                                                  \
    int fd = open("data", O_RDWR);                                                                 \
    char *p = put_string(a, "data"), *n = put_string(a, "user.name");                              \
    char *out = room(a, 100), *value = put_string(a, "a value of some length");                    \
    (void)p, (void)n, (void)value, (void)out;                                                      \
    if (name)                                                                                      \
        (void)fsetxattr(fd, "user.name", "value", 5, 0);                                           \
    RESULT(a, call);                                                                               \
    strcpy(n, "user.none");                                                                        \
    RESULT(a, call);                                                                               \
    char back[100] = "";                                                                           \
    record(a, fgetxattr(fd, "user.none", back, sizeof back));                                      \
    put(a, back, sizeof back);                                                                     \
    close(fd)

/* clang-format off */
CASE(getxattr) { ATTRIBUTES(p, true, getxattr(p, n, out, 100)); }
CASE(lgetxattr) { ATTRIBUTES(p, true, lgetxattr(p, n, out, 100)); }
CASE(fgetxattr) { ATTRIBUTES(fd, true, fgetxattr(fd, n, out, 0)); }
CASE(setxattr) { ATTRIBUTES(p, false, setxattr(p, n, value, 22, 0)); }
CASE(lsetxattr) { ATTRIBUTES(p, false, lsetxattr(p, n, value, 22, 0)); }
CASE(fsetxattr) { ATTRIBUTES(fd, false, fsetxattr(fd, n, value, 22, 0)); }
CASE(listxattr) { ATTRIBUTES(p, true, listxattr(p, out, 100)); }
CASE(llistxattr) { ATTRIBUTES(p, true, llistxattr(p, out, 3)); }
CASE(flistxattr) { ATTRIBUTES(fd, true, flistxattr(fd, out, 100)); }
CASE(removexattr) { ATTRIBUTES(p, true, removexattr(p, n)); }
CASE(lremovexattr) { ATTRIBUTES(p, true, lremovexattr(p, n)); }
CASE(fremovexattr) { ATTRIBUTES(fd, true, fremovexattr(fd, n)); }
/* clang-format on */

/* The name that was made is there; it is another one in each run. */
#define TEMPLATES(template, kind, call)                                                            \
    char *name = put_string(a, template);                                                          \
    struct stat s;                                                                                 \
    RESULT(a, call);                                                                               \
    CHECK(strncmp(name, "name-", 5) == 0 && strncmp(name + 5, "XXXXXX", 6) != 0);                  \
    CHECK(stat(name, &s) == 0 && (s.st_mode & S_IFMT) == (kind));                                  \
    forget(a, name, strlen(name));                                                                 \
    strcpy(name, "no");                                                                            \
    RESULT(a, call)

/* clang-format off */
CASE(mkstemp) { TEMPLATES("name-XXXXXX", S_IFREG, closed(mkstemp(name))); }
CASE(mkstemp64) { TEMPLATES("name-XXXXXX", S_IFREG, closed(mkstemp64(name))); }
CASE(mkostemp) { TEMPLATES("name-XXXXXX", S_IFREG, closed(mkostemp(name, O_CLOEXEC))); }
CASE(mkostemp64) { TEMPLATES("name-XXXXXX", S_IFREG, closed(mkostemp64(name, O_CLOEXEC))); }
CASE(mkstemps) { TEMPLATES("name-XXXXXX.c", S_IFREG, closed(mkstemps(name, 2))); }
CASE(mkstemps64) { TEMPLATES("name-XXXXXX.c", S_IFREG, closed(mkstemps64(name, 2))); }
CASE(mkostemps) { TEMPLATES("name-XXXXXX.c", S_IFREG, closed(mkostemps(name, 2, 0))); }
CASE(mkostemps64) { TEMPLATES("name-XXXXXX.c", S_IFREG, closed(mkostemps64(name, 2, 0))); }
CASE(mkdtemp) { TEMPLATES("name-XXXXXX", S_IFDIR, mkdtemp(name) == name ? 0 : -1); }
/* clang-format on */

#define WHOLE_PATHS(call)                                                                          \
    make_files();                                                                                  \
    char *p = put_string(a, "directory/../link"), *out = room(a, PATH_MAX);                        \
    RESULT(a, (call) == out ? 0 : -1);                                                             \
    strcpy(p, "directory/none/x");                                                                 \
    RESULT(a, (call) == out ? 0 : -1)

/* clang-format off */
CASE(realpath) { WHOLE_PATHS(realpath(p, out)); }
CASE(__realpath_chk) { WHOLE_PATHS(__realpath_chk(p, out, PATH_MAX)); }
/* clang-format on */

#define WHERE(call)                                                                                \
    char *out = room(a, 300);                                                                      \
    size_t len = 300;                                                                              \
    RESULT(a, (call) == out ? 0 : -1);                                                             \
    len = 4;                                                                                       \
    RESULT(a, (call) == out ? 0 : -1)

/* clang-format off */
CASE(getcwd) { WHERE(getcwd(out, len)); }
CASE(__getcwd_chk) { WHERE(__getcwd_chk(out, len, 300)); }
/* clang-format on */
