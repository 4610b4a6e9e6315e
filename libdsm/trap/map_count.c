/* SPDX-License-Identifier: BSD-3-Clause */
/* map_count.c - reads /proc. Not for signal handlers. */
#define _GNU_SOURCE
#include "trap/map_count.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_LIMIT 65530

static uint64_t read_limit(void)
{
    char text[32];
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return DEFAULT_LIMIT;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return DEFAULT_LIMIT;
    text[n] = '\0';
    return strtoull(text, NULL, 10);
}

void dsm_map_count_read(struct dsm_map_count *count_out)
{
    count_out->limit = read_limit();
    count_out->in_use = count_out->limit / 8;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    uint64_t n_lines = 0;
    char text[4096];
    ssize_t n;
    while ((n = read(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            n_lines += text[i] == '\n';
    }
    close(fd);
    if (n_lines > 0)
        count_out->in_use = n_lines;
}
