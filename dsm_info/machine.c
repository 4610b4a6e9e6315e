/* SPDX-License-Identifier: BSD-3-Clause */
/* machine.c - kernel, processors, memory. */
#define _GNU_SOURCE
#include "dsm_info/facts.h"
#include "runtime/membership.h"
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Of /proc/meminfo, in bytes; 0: not there. */
static uint64_t read_meminfo(const char *name)
{
    char line[256], key[64];
    uint64_t kib, bytes = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && !bytes && fgets(line, sizeof line, f))
        if (sscanf(line, "%63[^:]: %" SCNu64 " kB", key, &kib) == 2 && strcmp(key, name) == 0)
            bytes = kib << 10;
    if (f)
        fclose(f);
    return bytes;
}

/* Those that this process may run on. */
static int count_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    return (int)sysconf(_SC_NPROCESSORS_ONLN); /* more than a cpu_set_t holds */
}

json_t *dsm_info_machine(void)
{
    struct utsname name;
    uname(&name);
    return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I}", "host", name.nodename, "kernel",
                     name.release, "instruction_set", dsm_membership_cpu(), "processors",
                     count_processors(), "memory_bytes", (json_int_t)read_meminfo("MemTotal"),
                     "memory_available_bytes", (json_int_t)read_meminfo("MemAvailable"));
}
