/* SPDX-License-Identifier: BSD-3-Clause */
/* userfault.c - asks the running kernel what its userfaultfd can do for this user. */
#define _GNU_SOURCE
#include "dsm_info/facts.h"
#include "trap/uffd_calls.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By bit, as in the kernel's include/uapi/linux/userfaultfd.h. */
static const char *const names[] = {
    "pagefault-flag-wp",
    "event-fork",
    "event-remap",
    "event-remove",
    "missing-hugetlbfs",
    "missing-shmem",
    "event-unmap",
    "sigbus",
    "thread-id",
    "minor-hugetlbfs",
    "minor-shmem",
    "exact-address",
    "wp-hugetlbfs-shmem",
    "wp-unpopulated",
    "poison",
    "wp-async",
    "move",
};

static json_t *list_features(uint64_t features)
{
    json_t *list = json_array();
    for (unsigned bit = 0; bit < sizeof names / sizeof *names; bit++)
        if (features >> bit & 1)
            json_array_append_new(list, json_string(names[bit]));
    return list;
}

json_t *dsm_info_userfaultfd(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    int error = fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    if (error)
        return json_pack("{s:b, s:s, s:[]}", "usable", 0, "reason", strerror(error), "features");
    return json_pack("{s:b, s:s, s:o}", "usable", 1, "reason", "", "features",
                     list_features(api.features));
}
