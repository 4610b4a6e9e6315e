/* SPDX-License-Identifier: BSD-3-Clause */
/* gather.c - see gather.h. */
#include "config.h"
#include "dsmrun/gather.h"
#include "base/bytes.h"
#include "base/log.h"
#include "proto/profile.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int dsm_gather_open(struct dsm_gather *g, char *why, size_t why_bytes)
{
    const char *top = getenv("TMPDIR");
    g->fd = -1;
    dsm_format(g->dir, sizeof g->dir - 32, "%s", top && *top ? top : "/tmp");
    strcat(g->dir, "/dsmprof-XXXXXX");
    if (mkdtemp(g->dir))
        return 0;
    dsm_format(why, why_bytes, "cannot make %s for profiles: %s (TMPDIR names another place)",
               g->dir, strerror(errno));
    g->dir[0] = '\0';
    return DSM_E_SYSTEM;
}

void dsm_gather_path(const struct dsm_gather *g, char *out, size_t out_bytes)
{
    dsm_format(out, out_bytes, "%s/rank", g->dir);
}

static void rank_path(const struct dsm_gather *g, uint32_t rank, char *out, size_t out_bytes)
{
    dsm_format(out, out_bytes, "%s/rank.%u", g->dir, rank);
}

static bool open_file(struct dsm_gather *g, uint32_t rank)
{
    char path[PATH_MAX + 32];
    struct stat st;
    rank_path(g, rank, path, sizeof path);
    g->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    g->at = DSM_PROFILE_HEADER_BYTES;
    g->end = g->fd >= 0 && fstat(g->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return g->fd >= 0;
}

static bool read_at(const struct dsm_gather *g, void *out, size_t len, uint64_t at)
{
    return pread(g->fd, out, len, (off_t)at) == (ssize_t)len;
}

bool dsm_gather_next(struct dsm_gather *g, uint32_t rank, size_t *len_out)
{
    if (g->fd < 0 && !open_file(g, rank))
        return false;
    uint8_t *s = g->section;
    while (g->at + DSM_PROFILE_SECTION_BYTES <= g->end) {
        if (!read_at(g, s, DSM_PROFILE_SECTION_BYTES, g->at))
            return false;
        uint32_t tag = dsm_get_u32(s);
        uint64_t room = dsm_get_u64(s + 8), n = dsm_get_u64(s + 16);
        uint64_t entry = tag == DSM_PROFILE_TAG_LIVE ? 8 : DSM_PROFILE_SLOT_BYTES;
        if ((tag != DSM_PROFILE_TAG_LIVE && tag != DSM_PROFILE_TAG_EVENTS) ||
            room <= DSM_PROFILE_SECTION_BYTES || room > g->end - g->at)
            return false;
        uint64_t most =
            (room < DSM_GATHER_MAX_BYTES ? room : DSM_GATHER_MAX_BYTES) - DSM_PROFILE_SECTION_BYTES;
        if (n > most / entry)
            n = most / entry;
        uint64_t from = g->at + DSM_PROFILE_SECTION_BYTES;
        g->at += room;
        if (n == 0)
            continue;
        size_t used = (size_t)(n * entry);
        if (!read_at(g, s + DSM_PROFILE_SECTION_BYTES, used, from))
            return false;
        dsm_put_u64(s + 8, DSM_PROFILE_SECTION_BYTES + used);
        dsm_put_u64(s + 16, n);
        *len_out = DSM_PROFILE_SECTION_BYTES + used;
        return true;
    }
    return false;
}

void dsm_gather_done(struct dsm_gather *g, uint32_t rank)
{
    char path[PATH_MAX + 32];
    if (g->fd >= 0)
        close(g->fd);
    g->fd = -1;
    rank_path(g, rank, path, sizeof path);
    (void)unlink(path); /* a rank that never joined has none */
}

void dsm_gather_close(struct dsm_gather *g)
{
    if (g->dir[0] && rmdir(g->dir) != 0)
        dsm_log(DSM_LOG_WARN, "cannot remove %s: %s", g->dir, strerror(errno));
    g->dir[0] = '\0';
}
