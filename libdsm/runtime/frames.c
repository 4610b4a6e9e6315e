/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frames.c - memory of frames goes back to the system, around what the transport has registered.
 *
 * A hole in registered memory would swallow what peers write there. So what is registered is
 * cleared instead, and punched when the transport has let the piece go: which it does when this
 * rank keeps nothing in any of it. Both happen under the driver's lock, under which frames are
 * taken and keys given out.
 */
#include "base/errors.h"
#include "base/log.h"
#include "runtime/driver.h"
#include <string.h>

/* The pages from `first` on, at most n_pages, that are alike: all of them registered, or none. */
static uint64_t unpin(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages, bool *is_free_out)
{
    *is_free_out = true;
    if (!d->net || !d->net_ops->unpin)
        return n_pages;
    return d->net_ops->unpin(d->net, d->region->frame + (first << DSM_PAGE_SHIFT),
                             (size_t)n_pages << DSM_PAGE_SHIFT, is_free_out) >>
           DSM_PAGE_SHIFT;
}

int dsm_frames_give_back(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages)
{
    int error = 0;
    for (uint64_t done = 0, n; done < n_pages && !error; done += n) {
        bool is_free;
        n = unpin(d, first + done, n_pages - done, &is_free);
        if (is_free)
            error = dsm_region_punch(d->region, first + done, n);
        else
            memset(d->region->frame + ((first + done) << DSM_PAGE_SHIFT), 0,
                   (size_t)n << DSM_PAGE_SHIFT);
    }
    return error;
}

/*
 * What was given back is a hole, or was cleared. But a request that was given up because its home
 * died may still have been answered by an owner who lives, into memory that had been given back
 * before. By now that is over, but for the rest of a payload whose header had been read before the
 * loss, and which nobody has gone on reading since.
 */
void dsm_frames_make_zero(struct dsm_driver *d, dsm_page_t first, uint64_t n_pages)
{
    if (d->has_losses)
        memset(d->region->frame + (first << DSM_PAGE_SHIFT), 0, (size_t)n_pages << DSM_PAGE_SHIFT);
    else
        dsm_region_materialise(d->region, first, n_pages);
}

/* The pages that lie wholly within the bytes. */
static dsm_page_t pages_of(const struct dsm_driver *d, const void *addr, size_t len_bytes,
                           uint64_t *n_out)
{
    uint64_t offset = (uint64_t)((const uint8_t *)addr - d->region->frame);
    *n_out = len_bytes >> DSM_PAGE_SHIFT;
    return offset >> DSM_PAGE_SHIFT;
}

bool dsm_frames_is_unused(void *driver, const void *addr, size_t len_bytes)
{
    struct dsm_driver *d = driver;
    uint64_t n_pages;
    dsm_page_t first = pages_of(d, addr, len_bytes, &n_pages);
    dsm_mutex_lock(&d->lock);
    bool is_unused = dsm_core_is_unused(d->core, first, n_pages);
    dsm_mutex_unlock(&d->lock);
    return is_unused;
}

/* (locked) The longest run from first on of pages that are not used, or 0. */
static uint64_t unused_run(const struct dsm_driver *d, dsm_page_t first, uint64_t n_pages)
{
    if (dsm_core_is_unused(d->core, first, n_pages))
        return n_pages; /* as a rule */
    uint64_t n = 0;
    while (n < n_pages && dsm_core_is_unused(d->core, first + n, 1))
        n++;
    return n;
}

void dsm_frames_on_unpinned(void *driver, const void *addr, size_t len_bytes)
{
    struct dsm_driver *d = driver;
    uint64_t n_pages;
    dsm_page_t at = pages_of(d, addr, len_bytes, &n_pages), end = at + n_pages;
    int error = 0;
    dsm_mutex_lock(&d->lock);
    while (at < end && !error) {
        uint64_t n = unused_run(d, at, end - at);
        if (n)
            error = dsm_region_punch(d->region, at, n);
        at += n ? n : 1;
    }
    dsm_mutex_unlock(&d->lock);
    if (error) /* it stays, unused; nothing is wrong but the memory's size */
        dsm_log(DSM_LOG_WARN, "%lu KiB of memory cannot be given back: %s",
                (unsigned long)len_bytes >> 10, dsm_error_text(error));
}
