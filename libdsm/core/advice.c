/* SPDX-License-Identifier: BSD-3-Clause */
/* advice.c - see advice.h. */
#include "core/advice.h"

#include <string.h>

uint32_t dsm_advice_room(const struct dsm_advice_table *table)
{
    return table->n + 2; /* one more, and one that is split */
}

struct dsm_advice_range *dsm_advice_grow(struct dsm_advice_table *table,
                                         struct dsm_advice_range *ranges, uint32_t capacity)
{
    struct dsm_advice_range *before = table->ranges;

    if (table->n > 0)
        memcpy(ranges, before, table->n * sizeof *ranges);
    table->ranges = ranges;
    table->capacity = capacity;
    return before;
}

/* Number of ranges that end at or before the page. */
static uint32_t count_before(const struct dsm_advice_table *table, dsm_page_t page)
{
    uint32_t low = 0, high = table->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (table->ranges[mid].end <= page)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void dsm_advice_set(struct dsm_advice_table *table, dsm_page_t first, uint64_t n_pages,
                    enum dsm_advice_kind kind)
{
    dsm_page_t end = first + n_pages;
    uint32_t from = count_before(table, first), to = from, n = 0;
    struct dsm_advice_range fresh[3];

    while (to < table->n && table->ranges[to].first < end)
        to++;
    if (to > from && table->ranges[from].first < first) {
        fresh[n] = table->ranges[from];
        fresh[n++].end = first;
    }
    if (kind != DSM_ADVICE_KIND_NORMAL)
        fresh[n++] = (struct dsm_advice_range){.first = first, .end = end, .kind = (uint8_t)kind};
    if (to > from && table->ranges[to - 1].end > end) {
        fresh[n] = table->ranges[to - 1];
        fresh[n++].first = end;
    }
    if (table->n - (to - from) + n > table->capacity)
        n = table->capacity - (table->n - (to - from));
    if (to < table->n)
        memmove(&table->ranges[from + n], &table->ranges[to],
                (table->n - to) * sizeof table->ranges[0]);
    if (n > 0)
        memcpy(&table->ranges[from], fresh, n * sizeof fresh[0]);
    table->n = table->n - (to - from) + n;
}

struct dsm_advice_range *dsm_advice_find(const struct dsm_advice_table *table, dsm_page_t page)
{
    uint32_t at;

    if (table->n == 0)
        return NULL;
    at = count_before(table, page);
    return at < table->n && table->ranges[at].first <= page ? &table->ranges[at] : NULL;
}
