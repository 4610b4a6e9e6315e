/* SPDX-License-Identifier: BSD-3-Clause */
/* membership_host.c - what a rank tells dsmd of the machine it runs on. */
#include "runtime/membership_host.h"
#include "proto/control.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

const char *dsm_membership_cpu(void)
{
    /* The levels' features that every compiler's builtin knows: clang 14 has no names of levels. */
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
        return "x86-64";
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") ||
        !__builtin_cpu_supports("fma"))
        return "x86-64-v2";
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return "x86-64-v3";
    return "x86-64-v4";
}

void dsm_membership_host_name(char out[DSM_HOST_TEXT_BYTES])
{
    char name[DSM_HOST_TEXT_BYTES], clean[DSM_CONTROL_MAX_TEXT_BYTES];
    if (gethostname(name, sizeof name) != 0 || !*name)
        strcpy(name, "localhost");
    name[sizeof name - 1] = '\0';
    memcpy(out, dsm_control_clean_text(name, clean), DSM_HOST_TEXT_BYTES);
    out[DSM_HOST_TEXT_BYTES - 1] = '\0';
}

void dsm_membership_host_id(char out[DSM_HOST_TEXT_BYTES])
{
    /* The same for all containers and namespaces of one kernel, as are its processors. */
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, DSM_HOST_TEXT_BYTES - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0) {
        dsm_membership_host_name(out);
        return;
    }
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
}
