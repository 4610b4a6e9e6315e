/* SPDX-License-Identifier: BSD-3-Clause */
/* hosts.h - the hosts of a job and how its ranks are dealt to them. */
#ifndef DSM_DSMRUN_HOSTS_H
#define DSM_DSMRUN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dsm_host {
    char *name; /* as ssh takes it: [user@]host */
    bool is_here;
    uint32_t n_slots; /* 0: not said */
    uint32_t first_rank, n_ranks;
};

struct dsm_hosts {
    struct dsm_host *items;
    uint32_t n_items;
};

/* "a,b:2,[fe80::1]:4". Errors, with one line in why: INVAL, NOMEM. */
int dsm_hosts_parse(const char *text, struct dsm_hosts *hosts, char *why, size_t why_bytes);
/* One host a line, "name", "name:2" or "name slots=2"; # begins a comment. Errors also: SYSTEM. */
int dsm_hosts_read(const char *path, struct dsm_hosts *hosts, char *why, size_t why_bytes);
/* This host alone. Errors: NOMEM. */
int dsm_hosts_here(struct dsm_hosts *hosts);
/*
 * Deals the ranks in blocks, in the order of hosts: even shares when no host says how many it
 * takes, else at most that many, 1 where it is not said. *n_ranks 0: as many as there is room for.
 * Hosts without a rank are removed. Errors: LIMIT (more ranks than room).
 */
int dsm_hosts_deal(struct dsm_hosts *hosts, uint32_t *n_ranks, char *why, size_t why_bytes);
/* The host part of [user@]host. */
const char *dsm_host_bare_name(const struct dsm_host *host);
void dsm_hosts_close(struct dsm_hosts *hosts);

#endif
