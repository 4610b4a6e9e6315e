/* SPDX-License-Identifier: BSD-3-Clause */
/* table.c - see table.h. */
#include "core/table.h"

#include <assert.h>
#include <string.h>

#define FIRST_LEVEL 4u

/*
 * Eight consecutive keys fall into eight neighbouring buckets, in an order that depends on the
 * group: a program that walks through memory touches few cache lines, and homes that see every n-th
 * page still spread over all buckets.
 */
static uint64_t hash_key(uint64_t key)
{
    uint64_t group = (key >> 3) * 0x9e3779b97f4a7c15ull;

    group ^= group >> 32;
    group *= 0xd6e8feb86659fd93ull;
    return (group >> 29) << 3 | ((key + (group >> 5)) & 7);
}

static uint64_t bucket_of(const struct dsm_table *table, uint64_t key)
{
    uint64_t hash = hash_key(key);
    uint64_t bucket = hash & (table->level - 1);

    return bucket < table->split ? hash & (table->level * 2 - 1) : bucket;
}

static dsm_ref *buckets(const struct dsm_table *table, void *base)
{
    return (dsm_ref *)(void *)((char *)base + table->buckets_at);
}

void dsm_table_init(struct dsm_table *table, uint64_t buckets_at, uint64_t capacity)
{
    assert(capacity >= FIRST_LEVEL && (capacity & (capacity - 1)) == 0);
    memset(table, 0, sizeof *table);
    table->buckets_at = buckets_at;
    table->capacity = capacity;
    table->level = FIRST_LEVEL;
}

dsm_ref dsm_table_find(const struct dsm_table *table, void *base, uint64_t key)
{
    dsm_ref ref = buckets(table, base)[bucket_of(table, key)];

    while (ref) {
        const struct dsm_node *node = dsm_arena_at(base, ref);

        if (node->key == key)
            break;
        ref = node->next;
    }
    return ref;
}

/* Moves about half of bucket `split` to the new bucket at the end. */
static void split_one(struct dsm_table *table, void *base)
{
    dsm_ref *from = &buckets(table, base)[table->split];
    dsm_ref *to = &buckets(table, base)[table->split + table->level];
    uint64_t mask = table->level * 2 - 1, low = table->split;
    dsm_ref ref = *from;

    *from = 0;
    *to = 0;
    while (ref) {
        struct dsm_node *node = dsm_arena_at(base, ref);
        dsm_ref next = node->next;
        dsm_ref *head = (hash_key(node->key) & mask) == low ? from : to;

        node->next = *head;
        *head = ref;
        ref = next;
    }
    if (++table->split == table->level) {
        table->level *= 2;
        table->split = 0;
    }
}

void dsm_table_add(struct dsm_table *table, void *base, dsm_ref ref, uint64_t key)
{
    struct dsm_node *node = dsm_arena_at(base, ref);
    dsm_ref *head;

    if (table->n >= dsm_table_n_buckets(table) && dsm_table_n_buckets(table) < table->capacity)
        split_one(table, base);
    head = &buckets(table, base)[bucket_of(table, key)];
    node->key = key;
    node->next = *head;
    *head = ref;
    table->n++;
}

void dsm_table_remove(struct dsm_table *table, void *base, dsm_ref ref)
{
    struct dsm_node *node = dsm_arena_at(base, ref);
    dsm_ref *at = &buckets(table, base)[bucket_of(table, node->key)];

    while (*at != ref) {
        assert(*at);
        at = &((struct dsm_node *)dsm_arena_at(base, *at))->next;
    }
    *at = node->next;
    table->n--;
}
