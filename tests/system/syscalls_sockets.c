/* SPDX-License-Identifier: BSD-3-Clause */
/* syscalls_sockets.c - messages, addresses and options. */
#define _GNU_SOURCE
#include "syscalls.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);

/* Two datagram sockets with names in the case's directory. */
struct pair {
    int from, to;
};

static int named(const char *path, int type)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    strcpy(addr.sun_path, path);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0);
    return fd;
}

static struct pair open_pair(void)
{
    struct pair p = {named("from", SOCK_DGRAM), named("to", SOCK_DGRAM)};
    return p;
}

static void close_pair(struct pair p)
{
    close(p.from);
    close(p.to);
}

static struct sockaddr_un *put_addr(struct arena *a, const char *path)
{
    struct sockaddr_un addr;
    memset(&addr, 0, sizeof addr);
    addr.sun_family = AF_UNIX;
    strcpy(addr.sun_path, path);
    return put(a, &addr, sizeof addr);
}

/* What came to the other socket is a result. */
static void record_datagram(struct arena *a, int fd)
{
    char bytes[9000];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    long sum = n;
    for (ssize_t i = 0; i < n; i++)
        sum = sum * 31 + bytes[i];
    errno = 0;
    record(a, n < 0 ? -1 : sum & INT64_MAX);
}

#define SENDS(call)                                                                                \
    struct pair s = open_pair();                                                                   \
    struct sockaddr_un *to = put_addr(a, "to");                                                    \
    char *buffer = room(a, 8000);                                                                  \
    size_t len = 8000;                                                                             \
    RESULT(a, call);                                                                               \
    record_datagram(a, s.to);                                                                      \
    len = 100;                                                                                     \
    RESULT(a, call);                                                                               \
    record_datagram(a, s.to);                                                                      \
    strcpy(to->sun_path, "x");                                                                     \
    RESULT(a, call);                                                                               \
    close_pair(s)

static int joined(struct pair s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "to"};
    (void)connect(s.from, (struct sockaddr *)&addr, sizeof addr);
    return s.from;
}

/* clang-format off */
CASE(send) { SENDS(send(joined(s), buffer, len, MSG_DONTWAIT)); record_datagram(a, s.to); }
CASE(sendto) { SENDS(sendto(s.from, buffer, len, MSG_DONTWAIT, (struct sockaddr *)to, sizeof *to)); }
/* clang-format on */

/* A datagram of 6000 bytes waits; it is taken whole, and another in part. */
#define RECEIVES(call)                                                                             \
    struct pair s = open_pair();                                                                   \
    static const char text[6000] = "a datagram";                                                   \
    struct sockaddr_un *from = put_addr(a, "");                                                    \
    socklen_t *from_len = put(a, &(socklen_t){sizeof *from}, sizeof *from_len);                    \
    char *buffer = room(a, 8000);                                                                  \
    size_t len = 8000;                                                                             \
    (void)from_len;                                                                                \
    for (int i = 0; i < 3; i++) {                                                                  \
        CHECK(send(joined(s), text, sizeof text, MSG_DONTWAIT) == sizeof text);                    \
        RESULT(a, call);                                                                           \
        len = 50;                                                                                  \
        *from_len = 6;                                                                             \
    }                                                                                              \
    RESULT(a, call);                                                                               \
    close_pair(s)

/* clang-format off */
CASE(recv) { RECEIVES(recv(s.to, buffer, len, MSG_DONTWAIT | MSG_TRUNC)); }
CASE(__recv_chk) { RECEIVES(__recv_chk(s.to, buffer, len, 8000, MSG_DONTWAIT)); }
CASE(recvfrom)
{
    RECEIVES(recvfrom(s.to, buffer, len, MSG_DONTWAIT, (struct sockaddr *)from, from_len));
}
CASE(__recvfrom_chk)
{
    RECEIVES(__recvfrom_chk(s.to, buffer, len, 8000, MSG_DONTWAIT, (struct sockaddr *)from, from_len));
}
/* clang-format on */

/* A header with everything in the arena: name, three buffers of which one is not, control data. */
static void fill_message(struct arena *a, struct msghdr *h, struct sockaddr_un *name, char *outside)
{
    struct iovec v[3] = {{room(a, 3000), 3000}, {outside, 500}, {room(a, 20), 20}};
    memset(h, 0, sizeof *h);
    h->msg_name = name;
    h->msg_namelen = sizeof *name;
    h->msg_iov = put(a, v, sizeof v);
    h->msg_iovlen = 3;
    h->msg_control = room(a, CMSG_SPACE(sizeof(int)));
    h->msg_controllen = CMSG_SPACE(sizeof(int));
}

/* Pointers, and numbers of descriptors, differ from run to run. */
static void forget_message(struct arena *a, struct msghdr *h)
{
    forget(a, h->msg_iov, 3 * sizeof *h->msg_iov);
    forget(a, &h->msg_iov, sizeof h->msg_iov);
    forget(a, &h->msg_name, sizeof h->msg_name);
    forget(a, &h->msg_control, sizeof h->msg_control);
}

static void put_rights(struct msghdr *h)
{
    struct cmsghdr c = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    int fd = STDIN_FILENO;
    memset(h->msg_control, 0, h->msg_controllen);
    memcpy(h->msg_control, &c, sizeof c);
    memcpy((char *)h->msg_control + CMSG_LEN(0), &fd, sizeof fd);
}

static void close_rights(struct msghdr *h)
{
    int fd;
    memcpy(&fd, (char *)h->msg_control + CMSG_LEN(0), sizeof fd);
    CHECK(h->msg_controllen == CMSG_LEN(sizeof(int)) ||
          h->msg_controllen == CMSG_SPACE(sizeof(int)));
    CHECK(close(fd) == 0);
    memset((char *)h->msg_control + CMSG_LEN(0), 0, sizeof fd);
}

CASE(sendmsg)
{
    struct pair s = open_pair();
    char outside[500] = "outside";
    struct msghdr *h = room(a, sizeof *h);
    struct sockaddr_un *to = put_addr(a, "to");
    fill_message(a, h, to, outside);
    put_rights(h);
    RESULT(a, sendmsg(s.from, h, MSG_DONTWAIT));
    record_datagram(a, s.to);
    struct msghdr own = *h; /* a header that is private, and parts that are not */
    RESULT(a, sendmsg(s.from, &own, MSG_DONTWAIT));
    record_datagram(a, s.to);
    strcpy(to->sun_path, "x");
    RESULT(a, sendmsg(s.from, h, MSG_DONTWAIT));
    forget_message(a, h);
    close_pair(s);
}

CASE(recvmsg)
{
    struct pair s = open_pair();
    char outside[500] = "outside", control[CMSG_SPACE(sizeof(int))], text[3400] = "some text";
    struct msghdr *h = room(a, sizeof *h);
    struct iovec v = {text, sizeof text};
    struct msghdr sent = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    fill_message(a, h, put_addr(a, ""), outside);
    put_rights(&sent);
    CHECK(sendmsg(joined(s), &sent, 0) == sizeof text);
    RESULT(a, recvmsg(s.to, h, MSG_DONTWAIT));
    close_rights(h);
    put(a, outside, sizeof outside);
    h->msg_controllen = 0;
    h->msg_namelen = 3;
    h->msg_iovlen = 1;
    CHECK(sendmsg(s.from, &sent, 0) == sizeof text);
    RESULT(a, recvmsg(s.to, h, MSG_DONTWAIT));
    RESULT(a, recvmsg(s.to, h, MSG_DONTWAIT));
    forget_message(a, h);
    close_pair(s);
}

CASE(sendmmsg)
{
    struct pair s = open_pair();
    char outside[1000] = "outside";
    struct mmsghdr *m = room(a, 2 * sizeof *m);
    struct sockaddr_un *to = put_addr(a, "to");
    memset(m, 0, 2 * sizeof *m);
    for (int i = 0; i < 2; i++) {
        fill_message(a, &m[i].msg_hdr, to, outside + i * 500);
        put_rights(&m[i].msg_hdr);
    }
    RESULT(a, sendmmsg(s.from, m, 2, MSG_DONTWAIT));
    record_datagram(a, s.to);
    record_datagram(a, s.to);
    RESULT(a, sendmmsg(-1, m, 2, MSG_DONTWAIT));
    for (int i = 0; i < 2; i++)
        forget_message(a, &m[i].msg_hdr);
    close_pair(s);
}

CASE(recvmmsg)
{
    struct pair s = open_pair();
    char outside[1500] = "outside";
    static const char text[3400] = "some text";
    struct mmsghdr *m = room(a, 3 * sizeof *m);
    struct timespec *t = put(a, &(struct timespec){3600, 0}, sizeof *t);
    memset(m, 0, 3 * sizeof *m);
    for (int i = 0; i < 3; i++) {
        fill_message(a, &m[i].msg_hdr, put_addr(a, ""), outside + i * 500);
        m[i].msg_hdr.msg_controllen = 0;
    }
    for (int i = 0; i < 2; i++)
        CHECK(send(joined(s), text, sizeof text - (size_t)i * 200, 0) > 0);
    RESULT(a, recvmmsg(s.to, m, 3, MSG_WAITFORONE, t));
    RESULT(a, recvmmsg(s.to, m, 3, MSG_DONTWAIT, NULL));
    CHECK(t->tv_sec > 1000 && t->tv_sec <= 3600);
    forget(a, t, sizeof *t);
    for (int i = 0; i < 3; i++)
        forget_message(a, &m[i].msg_hdr);
    close_pair(s);
}

/* ---- addresses and options ---- */

CASE(socketpair)
{
    int *fds = room(a, 2 * sizeof *fds);
    RESULT(a, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    CHECK(write(fds[0], "x", 1) == 1);
    close(fds[0]);
    close(fds[1]);
    forget(a, fds, 2 * sizeof *fds);
    RESULT(a, socketpair(AF_INET, SOCK_STREAM, 0, fds));
}

CASE(bind)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un *addr = put_addr(a, "name");
    RESULT(a, bind(fd, (struct sockaddr *)addr, sizeof *addr));
    RESULT(a, access("name", F_OK));
    RESULT(a, bind(fd, (struct sockaddr *)addr, 1));
    close(fd);
}

CASE(connect)
{
    struct pair s = open_pair();
    struct sockaddr_un *addr = put_addr(a, "to");
    RESULT(a, connect(s.from, (struct sockaddr *)addr, sizeof *addr));
    strcpy(addr->sun_path, "x");
    RESULT(a, connect(s.from, (struct sockaddr *)addr, sizeof *addr));
    close_pair(s);
}

/* A server with a client that waits. */
#define ACCEPTS(call)                                                                              \
    int server = named("server", SOCK_STREAM), client = named("client", SOCK_STREAM);              \
    struct sockaddr_un *addr = put_addr(a, ""), to = {.sun_family = AF_UNIX};                      \
    socklen_t *len = put(a, &(socklen_t){sizeof *addr}, sizeof *len);                              \
    strcpy(to.sun_path, "server");                                                                 \
    CHECK(listen(server, 5) == 0);                                                                 \
    CHECK(fcntl(server, F_SETFL, O_NONBLOCK) == 0);                                                \
    CHECK(connect(client, (struct sockaddr *)&to, sizeof to) == 0);                                \
    int got = call;                                                                                \
    record(a, got >= 0 ? 0 : -1);                                                                  \
    close(got);                                                                                    \
    RESULT(a, call);                                                                               \
    close(server);                                                                                 \
    close(client)

/* clang-format off */
CASE(accept) { ACCEPTS((arrange(a), accept(server, (struct sockaddr *)addr, len))); }
CASE(accept4) { ACCEPTS((arrange(a), accept4(server, (struct sockaddr *)addr, len, SOCK_CLOEXEC))); }
/* clang-format on */

#define NAMES(call)                                                                                \
    struct pair s = open_pair();                                                                   \
    (void)joined(s);                                                                               \
    struct sockaddr_un *addr = put_addr(a, "");                                                    \
    socklen_t *len = put(a, &(socklen_t){sizeof *addr}, sizeof *len);                              \
    RESULT(a, call);                                                                               \
    *len = 4;                                                                                      \
    RESULT(a, call);                                                                               \
    close_pair(s);                                                                                 \
    s.from = -1;                                                                                   \
    RESULT(a, call)

/* clang-format off */
CASE(getsockname) { NAMES(getsockname(s.from, (struct sockaddr *)addr, len)); }
CASE(getpeername) { NAMES(getpeername(s.from, (struct sockaddr *)addr, len)); }
/* clang-format on */

CASE(getsockopt)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct timeval *value = room(a, sizeof *value);
    socklen_t *len = put(a, &(socklen_t){sizeof *value}, sizeof *len);
    RESULT(a, getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, value, len));
    RESULT(a, getsockopt(fd, SOL_SOCKET, SO_TYPE, value, len));
    RESULT(a, getsockopt(fd, SOL_SOCKET, 12345, value, len));
    close(fd);
}

CASE(setsockopt)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct timeval *value = put(a, &(struct timeval){3, 500000}, sizeof *value), got;
    socklen_t got_len = sizeof got;
    RESULT(a, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, value, sizeof *value));
    RESULT(a, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, value, 3));
    CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &got, &got_len) == 0);
    record(a, got.tv_sec);
    close(fd);
}
