/* SPDX-License-Identifier: BSD-3-Clause */
/* settings.c - see settings.h. */
#define _GNU_SOURCE
#include "runtime/settings.h"
#include "base/bytes.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/parse.h"
#include "runtime/heap.h"
#include "runtime/region.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGION_DEFAULT_BYTES  (64ull << 30)
#define REGION_MIN_BYTES      (1ull << 20)
#define RANKS_MAX             65536
#define AHEAD_DEFAULT_BYTES   (512ull << 10)
#define AHEAD_MAX_BYTES       (16ull << 20)
#define AHEAD_ALLOWED         "0 (nothing) or a size up to 16M"
#define PROFILE_DEFAULT_BYTES (256ull << 20)
#define PROFILE_MIN_BYTES     (4ull << 20)
#define PROFILE_ALLOWED       "a size of at least 4M"

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int wrong(const char *name, const char *value, const char *allowed)
{
    dsm_log(DSM_LOG_ERROR, "%s=%s: allowed is %s", name, value, allowed);
    return DSM_E_INVAL;
}

static int wrong_number(const char *name, uint64_t value, const char *allowed)
{
    char text[24];
    dsm_format(text, sizeof text, "%lu", (unsigned long)value);
    return wrong(name, text, allowed);
}

static int read_size(const char *name, uint64_t given, uint64_t fallback, const char *allowed,
                     uint64_t *out)
{
    const char *text = env(name);
    *out = given ? given : fallback;
    if (given || !text)
        return 0;
    return dsm_parse_size(text, out) ? wrong(name, text, allowed) : 0;
}

static int read_seconds(const char *name, double given, double fallback, double *out)
{
    const char *text = env(name);
    *out = given > 0 ? given : fallback;
    if (given > 0 || !text)
        return 0;
    return dsm_parse_seconds(text, out) ? wrong(name, text, "a number of seconds above 0") : 0;
}

static int read_job(const struct dsm_config *c, struct dsm_settings *s)
{
    s->daemon = c->daemon ? c->daemon : env("DSM_DAEMON");
    s->n_ranks = c->n_ranks;
    const char *text = env("DSM_NRANKS");
    uint64_t n = 1;
    if (!s->n_ranks) {
        if (text && dsm_parse_u64(text, 1, RANKS_MAX, &n))
            return wrong("DSM_NRANKS", text, "a number from 1 to 65536");
        s->n_ranks = (uint32_t)n;
    } else if (s->n_ranks > RANKS_MAX) {
        return wrong_number("n_ranks", s->n_ranks, "a number from 1 to 65536");
    }
    int64_t rank = c->rank;
    text = env("DSM_RANK");
    if (rank < 0 && text && dsm_parse_i64(text, 0, (int64_t)s->n_ranks - 1, &rank))
        return wrong("DSM_RANK", text, "a number from 0 to DSM_NRANKS - 1");
    if (rank >= (int64_t)s->n_ranks)
        return wrong_number("rank", (uint64_t)rank, "a number from 0 to n_ranks - 1");
    s->rank = (int32_t)rank;
    if (!s->daemon) {
        if (s->n_ranks == 1)
            return 0;
        dsm_log(DSM_LOG_ERROR,
                "a job of %u ranks needs DSM_DAEMON (host:port of dsmd): start the "
                "program with dsmrun -n %u",
                s->n_ranks, s->n_ranks);
        return DSM_E_INVAL;
    }
    text = c->token ? c->token : env("DSM_TOKEN");
    if (!text || dsm_parse_token(text, s->token)) {
        dsm_log(DSM_LOG_ERROR, "DSM_TOKEN %s: it takes 32 hexadecimal digits (dsmrun makes one)",
                text ? "is malformed" : "is not set");
        return DSM_E_INVAL;
    }
    return 0;
}

/* What only the device can tell wrong, it does. */
static int read_rdma(struct dsm_net_rdma_config *rdma)
{
    const char *port = env("DSM_RDMA_PORT"), *gid_index = env("DSM_RDMA_GID_INDEX");
    const char *mtu = env("DSM_RDMA_MTU"), *pin_max = env("DSM_RDMA_PIN_MAX");
    uint64_t value = 0;
    rdma->device = env("DSM_RDMA_DEVICE");
    if (port && dsm_parse_u64(port, 1, 255, &value))
        return wrong("DSM_RDMA_PORT", port, "a number from 1 to 255");
    rdma->port = port ? (uint32_t)value : 0;
    if (gid_index && dsm_parse_u64(gid_index, 0, 65535, &value))
        return wrong("DSM_RDMA_GID_INDEX", gid_index, "a number from 0 to 65535");
    rdma->has_gid_index = gid_index != NULL;
    rdma->gid_index = gid_index ? (uint32_t)value : 0;
    if (mtu && (dsm_parse_u64(mtu, 256, 4096, &value) || (value & (value - 1))))
        return wrong("DSM_RDMA_MTU", mtu, "256, 512, 1024, 2048 or 4096");
    rdma->mtu = mtu ? (uint32_t)value : 0;
    if (pin_max && dsm_parse_size(pin_max, &value))
        return wrong("DSM_RDMA_PIN_MAX", pin_max, "a size; 0 registers nothing of the region");
    rdma->has_pin_max = pin_max != NULL;
    rdma->pin_max_bytes = pin_max ? value : 0;
    return 0;
}

static int read_stats(struct dsm_settings *s)
{
    const char *text = env("DSM_STATS");
    if (!text || strcmp(text, "0") == 0)
        return 0;
    if (strcmp(text, "1") == 0 || strcmp(text, "text") == 0) {
        s->stats = DSM_STATS_TEXT;
        return 0;
    }
    s->stats = DSM_STATS_JSON;
    if (strcmp(text, "json") == 0)
        return 0;
    if (strncmp(text, "json:", 5) == 0 && text[5]) {
        s->stats_path = text + 5;
        return 0;
    }
    return wrong("DSM_STATS", text, "0, text, json or json:FILE (one file a rank: FILE.RANK)");
}

int dsm_settings_read(const struct dsm_config *config, struct dsm_settings *out)
{
    struct dsm_config none;
    dsm_config_init(&none);
    const struct dsm_config *c = config ? config : &none;
    struct dsm_settings s = {0};
    if (c->struct_size != sizeof *c)
        return wrong_number("struct_size", c->struct_size, "what dsm_config_init sets");
    int error = read_job(c, &s);
    if (!error)
        error = read_size("DSM_REGION_SIZE", c->region_bytes, REGION_DEFAULT_BYTES,
                          "a size from 1M to 16T", &s.region_bytes);
    if (error)
        return error;
    s.region_bytes = DSM_ALIGN_UP(s.region_bytes, DSM_GRANULE_BYTES);
    if (s.region_bytes < REGION_MIN_BYTES || s.region_bytes > DSM_REGION_MAX_BYTES)
        return wrong_number("DSM_REGION_SIZE", s.region_bytes, "a size from 1M to 16T");
    if ((error = read_size("DSM_MEM_MAX", c->mem_max_bytes, 0, "a size of at least 1M",
                           &s.mem_max_bytes)))
        return error;
    if (s.mem_max_bytes && s.mem_max_bytes < REGION_MIN_BYTES)
        return wrong_number("DSM_MEM_MAX", s.mem_max_bytes, "a size of at least 1M");
    const char *text = env("DSM_BASE");
    s.base = c->base;
    if (!s.base && text && dsm_parse_u64(text, 0x10000, (1ull << 47) - 1, &s.base))
        return wrong("DSM_BASE", text, "an address from 0x10000 to 0x7fffffffffff");
    if (s.base & ((2u << 20) - 1))
        return wrong_number("DSM_BASE", s.base, "a multiple of 2 MiB");
    s.spin_us = c->spin_us;
    text = env("DSM_SPIN_US");
    if (s.spin_us < 0 && text && dsm_parse_i64(text, 0, 1000000, &s.spin_us))
        return wrong("DSM_SPIN_US", text, "microseconds from 0 to 1000000");
    text = env("DSM_FETCH_AHEAD");
    if (text && strcmp(text, "0") == 0)
        s.ahead_bytes = 0;
    else if ((error = read_size("DSM_FETCH_AHEAD", 0, AHEAD_DEFAULT_BYTES, AHEAD_ALLOWED,
                                &s.ahead_bytes)))
        return error;
    text = env("DSM_MIGRATORY");
    if (text && strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
        return wrong("DSM_MIGRATORY", text, "0 or 1");
    s.is_never_migratory = text && strcmp(text, "0") == 0;
    text = env("DSM_SHM");
    if (text && strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
        return wrong("DSM_SHM", text, "0 or 1");
    s.is_socket_only = text && strcmp(text, "0") == 0;
    if (s.ahead_bytes > AHEAD_MAX_BYTES)
        return wrong_number("DSM_FETCH_AHEAD", s.ahead_bytes, AHEAD_ALLOWED);
    if ((error = read_seconds("DSM_FAULT_TIMEOUT", c->fault_timeout_s, 60, &s.fault_timeout_s)) ||
        (error = read_seconds("DSM_JOIN_TIMEOUT", c->join_timeout_s, 60, &s.join_timeout_s)))
        return error;
    s.trap = c->trap ? c->trap : env("DSM_TRAP");
    s.transport = c->transport ? c->transport : env("DSM_TRANSPORT");
    s.listen_host = env("DSM_LISTEN");
    text = env("DSM_ON_LOSS");
    if (text && strcmp(text, "abort") != 0 && strcmp(text, "continue") != 0)
        return wrong("DSM_ON_LOSS", text, "abort or continue");
    s.go_on_after_loss = text && strcmp(text, "continue") == 0;
    if ((error = read_rdma(&s.rdma)) || (error = read_stats(&s)))
        return error;
    s.profile_path = env("DSM_PROFILE");
    if ((error = read_size("DSM_PROFILE_MAX", 0, PROFILE_DEFAULT_BYTES, PROFILE_ALLOWED,
                           &s.profile_max_bytes)))
        return error;
    if (s.profile_max_bytes < PROFILE_MIN_BYTES)
        return wrong_number("DSM_PROFILE_MAX", s.profile_max_bytes, PROFILE_ALLOWED);
    *out = s;
    return 0;
}

/* One number from a file of the kernel's; UINT64_MAX when it has none ("max", no file). */
static uint64_t read_number(const char *path)
{
    uint64_t v = UINT64_MAX;
    FILE *f = fopen(path, "re");
    if (!f)
        return v;
    if (fscanf(f, "%" SCNu64, &v) != 1)
        v = UINT64_MAX;
    fclose(f);
    return v;
}

/* The limit of this process's own cgroup (version 2), or of a container's root. */
static uint64_t cgroup_limit(void)
{
    char line[512], path[600];
    uint64_t limit = read_number("/sys/fs/cgroup/memory.max");
    uint64_t v1 = read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::", 3) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", line + 3);
        uint64_t own = read_number(path);
        limit = own < limit ? own : limit;
    }
    if (f)
        fclose(f);
    return v1 < limit ? v1 : limit;
}

uint64_t dsm_settings_default_mem_max(uint32_t n_local_ranks)
{
    char line[256];
    uint64_t available = UINT64_MAX, kib;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1)
            available = kib << 10;
    if (f)
        fclose(f);
    uint64_t limit = cgroup_limit();
    uint64_t bytes = (limit < available ? limit : available) / 10 * 8;
    return DSM_ALIGN_DOWN(bytes / (n_local_ranks ? n_local_ranks : 1), (uint64_t)DSM_PAGE_BYTES);
}
