/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * table.h - hash table over arena nodes that grows by one bucket at a time (linear hashing: Litwin,
 * VLDB 1980), so that no step ever pays for a rehash and the buckets touched are in proportion to
 * the nodes. Every node begins with struct dsm_node.
 */
#ifndef DSM_CORE_TABLE_H
#define DSM_CORE_TABLE_H

#include "core/arena.h"

struct dsm_node {
    uint64_t key;
    dsm_ref next;
    uint32_t spare; /* for the node's owner: fills the gap */
};

struct dsm_table {
    uint64_t buckets_at; /* offset of the array of dsm_ref */
    uint64_t capacity;   /* buckets at most, a power of two */
    uint64_t level;      /* buckets of the current round, a power of two */
    uint64_t split;      /* buckets below have been split already */
    uint64_t n;
};

void dsm_table_init(struct dsm_table *table, uint64_t buckets_at, uint64_t capacity);
dsm_ref dsm_table_find(const struct dsm_table *table, void *base, uint64_t key);
/* The node's key must not be in the table. */
void dsm_table_add(struct dsm_table *table, void *base, dsm_ref ref, uint64_t key);
void dsm_table_remove(struct dsm_table *table, void *base, dsm_ref ref);

static inline uint64_t dsm_table_n_buckets(const struct dsm_table *table)
{
    return table->level + table->split;
}
static inline dsm_ref dsm_table_bucket(const struct dsm_table *table, void *base, uint64_t bucket)
{
    return ((dsm_ref *)(void *)((char *)base + table->buckets_at))[bucket];
}

#endif
