/* SPDX-License-Identifier: BSD-3-Clause */
/* bounce.c - copies of arguments, small ones on the caller's stack. */
#include "trap/bounce.h"
#include "trap/raw.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

static bool is_inside(const void *p, size_t len_bytes)
{
    uintptr_t start, end;
    return dsm_bounce_touches(p, len_bytes) &&
           dsm_view_part((uintptr_t)p, len_bytes, &start, &end) && end - start == len_bytes;
}

/* The kernel reads the new mask before it finds that what to do with it makes no sense. */
static bool can_read(uintptr_t addr)
{
    return dsm_raw_call(SYS_rt_sigprocmask, -1, (long)addr, 0, sizeof(dsm_sigmask_t), 0, 0) !=
           -EFAULT;
}

bool dsm_bounce_is_readable(const void *p, size_t len_bytes)
{
    uintptr_t first = (uintptr_t)p & ~(uintptr_t)7;
    uintptr_t last = ((uintptr_t)p + len_bytes - 1) & ~(uintptr_t)7;
    return len_bytes == 0 || (can_read(first) && (last >> 12 == first >> 12 || can_read(last)));
}

static void *add_item(struct dsm_bounce *bounce, const void *p, size_t len_bytes)
{
    struct dsm_bounce_item *item = &bounce->items[bounce->n_items];
    size_t padded = (len_bytes + 15) & ~(size_t)15;
    item->shared = (void *)p;
    item->memory = (struct dsm_private){NULL, 0};
    if (padded <= DSM_BOUNCE_SMALL_BYTES - bounce->small_bytes) {
        item->copy = bounce->small + bounce->small_bytes;
        bounce->small_bytes += padded;
    } else {
        int error = dsm_private_take(&item->memory, len_bytes);
        if (error != 0) {
            bounce->error = error;
            return NULL;
        }
        item->copy = item->memory.addr;
    }
    bounce->n_items++;
    return item->copy;
}

void *dsm_bounce_out(struct dsm_bounce *bounce, void *p, size_t len_bytes)
{
    void *copy = is_inside(p, len_bytes) ? add_item(bounce, p, len_bytes) : NULL;
    return copy ? copy : p;
}

void *dsm_bounce_in(struct dsm_bounce *bounce, const void *p, size_t len_bytes)
{
    void *copy = is_inside(p, len_bytes) ? add_item(bounce, p, len_bytes) : NULL;
    return copy ? memcpy(copy, p, len_bytes) : (void *)p;
}

char *dsm_bounce_string(struct dsm_bounce *bounce, const char *s)
{
    uintptr_t start, end;
    if (!dsm_bounce_touches(s, 1) || !dsm_view_part((uintptr_t)s, PATH_MAX, &start, &end) ||
        start != (uintptr_t)s)
        return (char *)s;
    size_t len = strnlen(s, end - start);
    if (len == end - start && len < PATH_MAX)
        return (char *)s; /* goes on beyond the region */
    char *copy = add_item(bounce, s, len + 1);
    if (!copy)
        return (char *)s;
    /* Another thread may have made it longer since it was measured. */
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

static const struct dsm_bounce_item *find(const struct dsm_bounce *bounce, const void *copy)
{
    for (unsigned i = 0; i < bounce->n_items; i++) {
        if (bounce->items[i].copy == copy)
            return &bounce->items[i];
    }
    return NULL;
}

void dsm_bounce_give(struct dsm_bounce *bounce, const void *copy, size_t used_bytes)
{
    const struct dsm_bounce_item *item = find(bounce, copy);
    if (item && used_bytes > 0)
        memcpy(item->shared, copy, used_bytes);
}

void *dsm_bounce_origin(const struct dsm_bounce *bounce, const void *copy)
{
    const struct dsm_bounce_item *item = find(bounce, copy);
    return item ? item->shared : NULL;
}

void dsm_bounce_close(struct dsm_bounce *bounce)
{
    for (unsigned i = 0; i < bounce->n_items; i++)
        dsm_private_give(&bounce->items[i].memory);
    bounce->n_items = 0;
}
