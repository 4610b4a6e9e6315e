/* SPDX-License-Identifier: BSD-3-Clause */
/* limits.c - what may stop a rank from starting, or from using the best it could, and how to lift
 * it. */
#define _GNU_SOURCE
#include "dsm_info/facts.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define REGION_BYTES DSM_INFO_REGION_BYTES
/* Two connections to each of some hundred ranks. */
#define FILES_NEEDED 1024u
/* Pinned by the rdma transport before anything of the region is. */
#define MEMLOCK_NEEDED (64ull << 20)
#define MAPS_NEEDED    65530u

struct limit {
    const char *name, *unit, *what_for;
    uint64_t value; /* UINT64_MAX: unlimited */
    bool is_known, is_enough;
    const char *advice; /* where it is not enough */
};

static json_t *describe(const struct limit *l)
{
    json_t *value = !l->is_known             ? json_null()
                    : l->value == UINT64_MAX ? json_string("unlimited")
                                             : json_integer((json_int_t)l->value);
    return json_pack("{s:s, s:s, s:s, s:o, s:b, s:s}", "name", l->name, "unit", l->unit, "what_for",
                     l->what_for, "value", value, "enough", l->is_enough || !l->is_known, "advice",
                     l->is_enough || !l->is_known ? "" : l->advice);
}

/* The hard limit where the library raises the soft one by itself. */
static uint64_t resource_limit(int resource, bool is_hard)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return UINT64_MAX;
    rlim_t value = is_hard ? limit.rlim_max : limit.rlim_cur;
    return value == RLIM_INFINITY ? UINT64_MAX : value;
}

static bool read_sysctl(const char *path, uint64_t *out)
{
    FILE *f = fopen(path, "re");
    bool is_read = f && fscanf(f, "%" SCNu64, out) == 1;
    if (f)
        fclose(f);
    return is_read;
}

static json_t *add_resources(json_t *list)
{
    uint64_t as = resource_limit(RLIMIT_AS, false), fsize = resource_limit(RLIMIT_FSIZE, false);
    uint64_t files = resource_limit(RLIMIT_NOFILE, true);
    uint64_t memlock = resource_limit(RLIMIT_MEMLOCK, false);
    const struct limit limits[] = {
        {"RLIMIT_AS", "bytes", "the region, mapped twice", as, true, as >= 2 * REGION_BYTES,
         "ulimit -v unlimited, or a smaller --region-size (default 64G)"},
        {"RLIMIT_FSIZE", "bytes", "the region's memory file", fsize, true, fsize >= REGION_BYTES,
         "ulimit -f unlimited, or a smaller --region-size (default 64G)"},
        {"RLIMIT_NOFILE", "files", "two connections to each rank (the hard limit counts)", files,
         true, files >= FILES_NEEDED, "ulimit -Hn 65536, or LimitNOFILE= of the service"},
        {"RLIMIT_MEMLOCK", "bytes", "memory pinned for an RDMA device; root is not bound by it",
         memlock, true, geteuid() == 0 || memlock >= MEMLOCK_NEEDED,
         "ulimit -l unlimited, or memlock in /etc/security/limits.conf; "
         "else a small --rdma-pin-max"},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        json_array_append_new(list, describe(&limits[i]));
    return list;
}

static void add_sysctls(json_t *list)
{
    uint64_t maps = 0, overcommit = 0, unprivileged = 0;
    struct limit limit = {"vm.max_map_count",
                          "mappings",
                          "the segv trap, which takes at most half",
                          0,
                          false,
                          false,
                          "sysctl vm.max_map_count=1048576"};
    limit.is_known = read_sysctl("/proc/sys/vm/max_map_count", &maps);
    limit.value = maps;
    limit.is_enough = maps >= MAPS_NEEDED;
    json_array_append_new(list, describe(&limit));
    limit = (struct limit){"vm.overcommit_memory",
                           "",
                           "address space for the region",
                           0,
                           false,
                           false,
                           "sysctl vm.overcommit_memory=0: 2 counts the whole region"};
    limit.is_known = read_sysctl("/proc/sys/vm/overcommit_memory", &overcommit);
    limit.value = overcommit;
    limit.is_enough = overcommit != 2;
    json_array_append_new(list, describe(&limit));
    limit = (struct limit){"vm.unprivileged_userfaultfd",
                           "",
                           "nothing: faults of user mode need no privilege",
                           0,
                           false,
                           true,
                           ""};
    limit.is_known = read_sysctl("/proc/sys/vm/unprivileged_userfaultfd", &unprivileged);
    limit.value = unprivileged;
    json_array_append_new(list, describe(&limit));
}

json_t *dsm_info_limits(void)
{
    json_t *list = json_array();
    add_resources(list);
    add_sysctls(list);
    return list;
}
