/* SPDX-License-Identifier: BSD-3-Clause */
/* machine.c - see machine.h. */
#define _GNU_SOURCE
#include "bench/machine.h"

#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

unsigned bench_machine_cpus(void)
{
    cpu_set_t set;
    long n;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    n = sysconf(_SC_NPROCESSORS_ONLN); /* more than a cpu_set_t can hold */
    return n > 0 ? (unsigned)n : 1;
}

void bench_machine_kernel(char *out, size_t out_bytes)
{
    struct utsname name;

    if (uname(&name) == 0)
        snprintf(out, out_bytes, "%s %s %s", name.sysname, name.release, name.machine);
    else
        snprintf(out, out_bytes, "unknown kernel");
}

void bench_machine_model(char *out, size_t out_bytes)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];

    snprintf(out, out_bytes, "unknown processor");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        snprintf(out, out_bytes, "%.*s", (int)strcspn(colon + 1, "\n"), colon + 1);
        memmove(out, out + strspn(out, " "), strlen(out + strspn(out, " ")) + 1);
        break;
    }
    if (file != NULL)
        fclose(file);
}

struct ticks {
    double busy, all;
};

static bool read_ticks(struct ticks *ticks_out)
{
    /* proc(5): user nice system idle iowait irq softirq steal, in ticks since boot */
    unsigned long long t[8] = {0};
    FILE *file = fopen("/proc/stat", "re");
    int n = 0;

    if (file != NULL) {
        n = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3],
                   &t[4], &t[5], &t[6], &t[7]);
        fclose(file);
    }
    if (n < 5)
        return false;
    ticks_out->all = 0;
    for (int i = 0; i < 8; i++)
        ticks_out->all += (double)t[i];
    ticks_out->busy = ticks_out->all - (double)t[3] - (double)t[4];
    return true;
}

double bench_machine_load(unsigned sample_ms)
{
    struct timespec pause = {.tv_sec = sample_ms / 1000,
                             .tv_nsec = (long)(sample_ms % 1000) * 1000000};
    long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct ticks before, after;

    if (n_cpus < 1 || !read_ticks(&before))
        return (double)NAN;
    nanosleep(&pause, NULL);
    if (!read_ticks(&after) || after.all <= before.all)
        return (double)NAN;
    return (double)n_cpus * (after.busy - before.busy) / (after.all - before.all);
}
