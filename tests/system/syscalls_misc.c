/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls_misc.c - descriptors of other kinds, requests to devices, and new programs. */
#define _GNU_SOURCE
#include "syscalls.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang-format off */
#define PIPES(call)                                                                                \
    int *fds = room(a, 2 * sizeof *fds);                                                           \
    RESULT(a, call);                                                                               \
    CHECK(write(fds[1], "x", 1) == 1);                                                             \
    close(fds[0]);                                                                                 \
    close(fds[1]);                                                                                 \
    forget(a, fds, 2 * sizeof *fds)
CASE(pipe) { PIPES(pipe(fds)); }
CASE(pipe2) { PIPES(pipe2(fds, O_CLOEXEC)); RESULT(a, pipe2(fds, 12345)); }

CASE(eventfd_read)
{
    int fd = eventfd(123456, EFD_NONBLOCK);
    eventfd_t *value = room(a, sizeof *value);
    RESULT(a, eventfd_read(fd, value));
    RESULT(a, eventfd_read(fd, value));
    close(fd);
}
CASE(signalfd)
{
    sigset_t *set = room(a, sizeof *set);
    sigemptyset(set);
    int fd = signalfd(-1, set, 0);
    CHECK(fd >= 0);
    sigaddset(set, SIGUSR2);
    RESULT(a, signalfd(fd, set, 0) == fd ? 0 : -1);
    close(fd);
    RESULT(a, signalfd(fd, set, 0));
}
CASE(inotify_add_watch)
{
    int fd = inotify_init1(IN_CLOEXEC);
    char *p = put_string(a, ".");
    RESULT(a, inotify_add_watch(fd, p, IN_CREATE));
    strcpy(p, "x");
    RESULT(a, inotify_add_watch(fd, p, IN_CREATE));
    close(fd);
}
CASE(getdents64)
{
    char *out = room(a, 5000);
    close(pattern_file("data", 10));
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    long n = RESULT(a, getdents64(fd, out, 5000));
    CHECK(n > 3 * 19 && memmem(out, (size_t)n, "data", 5));
    forget(a, out, (size_t)n);
    RESULT(a, getdents64(fd, out, 5000));
    close(fd);
    RESULT(a, getdents64(-1, out, 5000));
}

/* From a file to another, or to a pipe, with offsets in the arena. */
#define OFFSETS(call)                                                                              \
    int from = pattern_file("from", 9000), to = pattern_file("to", 100), fds[2];                   \
    off_t *in = put(a, &(off_t){1000}, sizeof *in), *out = put(a, &(off_t){7}, sizeof *out);       \
    (void)out;                                                                                     \
    CHECK(pipe(fds) == 0);                                                                         \
    RESULT(a, call);                                                                               \
    *in = -5;                                                                                      \
    RESULT(a, call);                                                                               \
    close(from);                                                                                   \
    close(to);                                                                                     \
    close(fds[0]);                                                                                 \
    close(fds[1])
CASE(sendfile) { OFFSETS(sendfile(to, from, in, 500)); }
CASE(sendfile64) { OFFSETS(sendfile64(to, from, in, 500)); }
CASE(splice) { OFFSETS(splice(from, in, fds[1], NULL, 500, 0)); }
CASE(copy_file_range) { OFFSETS(copy_file_range(from, in, to, out, 500, 0)); }

#define LOCKS(call)                                                                                \
    int fd = pattern_file("data", 100);                                                            \
    struct flock lock = {.l_type = F_WRLCK, .l_start = 3, .l_len = 5};                             \
    struct flock *l = put(a, &lock, sizeof lock);                                                  \
    int command = F_GETLK;                                                                         \
    RESULT(a, call);                                                                               \
    command = F_SETLK;                                                                             \
    RESULT(a, call);                                                                               \
    l->l_whence = 77;                                                                              \
    RESULT(a, call);                                                                               \
    RESULT(a, fcntl(fd, F_GETFD));                                                                 \
    close(fd)
CASE(fcntl) { LOCKS(fcntl(fd, command, l)); }
CASE(fcntl64) { LOCKS(fcntl64(fd, command, l)); }

CASE(ioctl)
{
    int fds[2], *n = put(a, &(int){1}, sizeof *n), fd = pattern_file("data", 100);
    unsigned *number = room(a, sizeof *number);
    struct winsize *size = room(a, sizeof *size);
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(pipe(fds) == 0);
    RESULT(a, ioctl(fds[0], FIONBIO, n)); /* read */
    CHECK(write(fds[1], "12345", 5) == 5);
    RESULT(a, ioctl(fds[0], FIONREAD, n)); /* written */
    RESULT(a, ioctl(fd, FIONREAD, n));
    RESULT(a, ioctl(fd, TIOCGWINSZ, size)); /* not a terminal */
    if (terminal >= 0) {
        RESULT(a, ioctl(terminal, TIOCGPTN, number)); /* a request that tells its size */
        CHECK(*number < 1u << 20);
        forget(a, number, sizeof *number);
        *size = (struct winsize){5, 6, 7, 8};
        RESULT(a, ioctl(terminal, TIOCSWINSZ, size));
        memset(size, 0, sizeof *size);
        RESULT(a, ioctl(terminal, TIOCGWINSZ, size));
        close(terminal);
    }
    close(fds[0]);
    close(fds[1]);
    close(fd);
}
/* clang-format on */

/* ---- new programs: in a child that shares memory, which has no time to touch it ---- */

static const char *const program[] = {"/bin/sh", "-c", "exit $(( $1 + ${ADD:-100} ))", "sh", "5"};
static const char *const assignment = "ADD=7";

struct words {
    char *path, **argv, **envp;
};

static struct words put_words(struct arena *a, const char *path)
{
    char *argv[6] = {NULL}, *envp[2] = {put_string(a, assignment), NULL};
    for (int i = 0; i < 5; i++)
        argv[i] = i == 1 ? (char *)program[i] : put_string(a, program[i]);
    struct words w = {put_string(a, path), put(a, argv, sizeof argv), put(a, envp, sizeof envp)};
    return w;
}

/* The addresses of the words differ from run to run. */
static void forget_words(struct arena *a, struct words w)
{
    forget(a, w.argv, 6 * sizeof *w.argv);
    forget(a, w.envp, 2 * sizeof *w.envp);
}

/* The child's exit status. */
static long status_of(pid_t pid)
{
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* A child of fork has no region; one of vfork has, until it is another program. */
#define PROGRAMS(name, call)                                                                       \
    struct words w = put_words(a, name);                                                           \
    char **saved = environ;                                                                        \
    volatile int error = 0;                                                                        \
    for (int i = 0; i < 2; i++) {                                                                  \
        arrange(a);                                                                                \
        pid_t pid = vfork();                                                                       \
        if (pid == 0) {                                                                            \
            call;                                                                                  \
            error = errno;                                                                         \
            _exit(99);                                                                             \
        }                                                                                          \
        environ = saved;                                                                           \
        record(a, status_of(pid));                                                                 \
        record(a, error);                                                                          \
        strcpy(w.path, "/x");                                                                      \
    }                                                                                              \
    forget_words(a, w)

/* clang-format off */
CASE(execve) { PROGRAMS("/bin/sh", execve(w.path, w.argv, w.envp)); }
CASE(execv) { PROGRAMS("/bin/sh", execv(w.path, w.argv)); }
CASE(execvp) { PROGRAMS("sh", execvp(w.path, w.argv)); }
CASE(execvpe) { PROGRAMS("sh", execvpe(w.path, w.argv, w.envp)); }
CASE(execveat) { PROGRAMS("/bin/sh", execveat(AT_FDCWD, w.path, w.argv, w.envp, 0)); }
CASE(execl) { PROGRAMS("/bin/sh", execl(w.path, w.argv[0], w.argv[1], w.argv[2], w.argv[3], w.argv[4], NULL)); }
CASE(execlp) { PROGRAMS("sh", execlp(w.path, w.argv[0], w.argv[1], w.argv[2], w.argv[3], w.argv[4], NULL)); }
CASE(execle) { PROGRAMS("/bin/sh", execle(w.path, w.argv[0], w.argv[1], w.argv[2], w.argv[3], w.argv[4], NULL, w.envp)); }
CASE(fexecve)
{
    int fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    PROGRAMS("", fexecve(fd, w.argv, w.envp));
    close(fd);
}
CASE(posix_spawn)
{
    struct words w = put_words(a, "/bin/sh");
    pid_t *pid = room(a, sizeof *pid);
    RESULT(a, posix_spawn(pid, w.path, NULL, NULL, w.argv, w.envp));
    record(a, status_of(*pid));
    forget(a, pid, sizeof *pid);
    forget_words(a, w);
}
CASE(posix_spawnp)
{
    struct words w = put_words(a, "sh");
    pid_t *pid = room(a, sizeof *pid);
    RESULT(a, posix_spawnp(pid, w.path, NULL, NULL, w.argv, w.envp));
    record(a, status_of(*pid));
    forget(a, pid, sizeof *pid);
    forget_words(a, w);
}
CASE(system)
{
    char command[9000]; /* longer than a path may be */
    memset(command, ' ', sizeof command);
    strcpy(command + sizeof command - 7, "exit 6");
    char *c = put_string(a, command);
    RESULT(a, system(c));
    RESULT(a, system(NULL));
}
CASE(popen)
{
    char *command = put_string(a, "echo a line of output"), *mode = put_string(a, "r"), line[100];
    FILE *f = POINTER(a, popen(command, mode));
    CHECK(fgets(line, sizeof line, f));
    put_string(a, line);
    RESULT(a, pclose(f));
}
/* clang-format on */
