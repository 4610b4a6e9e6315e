/* SPDX-License-Identifier: BSD-3-Clause */
/* image.c - see image.h. Only pages that are not zero are copied. */
#include "parmacs/image.h"
#include "core/ids.h"
#include <dsm/dsm.h>
#include <stdbool.h>
#include <string.h>

/* In the first pages of the image: how many pages follow them, and which ones these are. */
struct index {
    uint64_t n_pages;
    uint64_t page[];
};

static bool is_zero(const uint8_t *page)
{
    const uint64_t *word = (const uint64_t *)(const void *)page;
    for (unsigned i = 0; i < DSM_PAGE_BYTES / sizeof *word; i++)
        if (word[i])
            return false;
    return true;
}

static uint64_t index_bytes(uint64_t n_pages)
{
    uint64_t bytes = sizeof(struct index) + n_pages * sizeof(uint64_t);
    return (bytes + DSM_PAGE_BYTES - 1) & ~(uint64_t)(DSM_PAGE_BYTES - 1);
}

void *dsm_image_take(const struct dsm_executable *e)
{
    const uint8_t *data = (const uint8_t *)(uintptr_t)e->data_addr;
    uint64_t n_pages = 0, n_data = e->data_bytes / DSM_PAGE_BYTES, at = 0;
    for (uint64_t i = 0; i < n_data; i++)
        n_pages += !is_zero(data + i * DSM_PAGE_BYTES);
    uint8_t *image = dsm_malloc(index_bytes(n_pages) + n_pages * DSM_PAGE_BYTES);
    if (!image)
        return NULL;
    struct index *index = (struct index *)(void *)image;
    uint8_t *bytes = image + index_bytes(n_pages);
    /* The index is in no page that was counted: nothing here writes to the program's variables. */
    for (uint64_t i = 0; i < n_data && at < n_pages; i++) {
        if (is_zero(data + i * DSM_PAGE_BYTES))
            continue;
        memcpy(bytes + at * DSM_PAGE_BYTES, data + i * DSM_PAGE_BYTES, DSM_PAGE_BYTES);
        index->page[at++] = i;
    }
    index->n_pages = at;
    return image;
}

void dsm_image_put(const struct dsm_executable *e, void *image)
{
    uint8_t *data = (uint8_t *)(uintptr_t)e->data_addr;
    const struct index *index = image;
    uint64_t n_pages = index->n_pages, n_data = e->data_bytes / DSM_PAGE_BYTES, at = 0;
    const uint8_t *bytes = (const uint8_t *)image + index_bytes(n_pages);
    for (uint64_t i = 0; i < n_data; i++) {
        uint8_t *page = data + i * DSM_PAGE_BYTES;
        if (at < n_pages && index->page[at] == i)
            memcpy(page, bytes + at++ * DSM_PAGE_BYTES, DSM_PAGE_BYTES);
        else if (!is_zero(page))
            memset(page, 0, DSM_PAGE_BYTES);
    }
    (void)dsm_free(image);
}
