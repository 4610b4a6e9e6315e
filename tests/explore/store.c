/* SPDX-License-Identifier: BSD-3-Clause */
/* store.c - see store.h. */
#include "store.h"

#include <stdlib.h>
#include <string.h>

/* ---- visited states -------------------------------------------------------------------------- */

#define VISITED_FIRST 65536u

int store_visited_open(struct store_visited *visited)
{
    *visited = (struct store_visited){.capacity = VISITED_FIRST, .n_slots = 2 * VISITED_FIRST};
    visited->digests = malloc(visited->capacity * sizeof visited->digests[0]);
    visited->parents = malloc(visited->capacity * sizeof visited->parents[0]);
    visited->slots = calloc(visited->n_slots, sizeof visited->slots[0]);
    if (visited->digests == NULL || visited->parents == NULL || visited->slots == NULL) {
        store_visited_close(visited);
        return DSM_E_NOMEM;
    }
    return 0;
}

void store_visited_close(struct store_visited *visited)
{
    free(visited->digests);
    free(visited->parents);
    free(visited->slots);
    *visited = (struct store_visited){0};
}

static int grow(struct store_visited *visited)
{
    uint64_t capacity = visited->capacity * 2, n_slots = visited->n_slots * 2;
    struct digest *digests = realloc(visited->digests, capacity * sizeof digests[0]);

    if (digests == NULL) {
        return DSM_E_NOMEM;
    }
    visited->digests = digests;
    uint32_t *parents = realloc(visited->parents, capacity * sizeof parents[0]);
    if (parents == NULL) {
        return DSM_E_NOMEM;
    }
    visited->parents = parents;
    free(visited->slots);
    visited->slots = calloc(n_slots, sizeof visited->slots[0]);
    if (visited->slots == NULL) {
        return DSM_E_NOMEM;
    }
    visited->capacity = capacity;
    visited->n_slots = n_slots;
    for (uint64_t i = 0; i < visited->n; i++) {
        uint64_t at = digests[i].a & (n_slots - 1);
        while (visited->slots[at] != 0) {
            at = (at + 1) & (n_slots - 1);
        }
        visited->slots[at] = (uint32_t)(i + 1);
    }
    return 0;
}

int store_visited_add(struct store_visited *visited, struct digest digest, uint32_t parent,
                      uint32_t *number_out, bool *is_new_out)
{
    if (visited->n == visited->capacity) {
        int error = visited->n >= UINT32_MAX / 2 ? DSM_E_LIMIT : grow(visited);
        if (error != 0) {
            return error;
        }
    }
    uint64_t at = digest.a & (visited->n_slots - 1);
    for (; visited->slots[at] != 0; at = (at + 1) & (visited->n_slots - 1)) {
        uint32_t number = visited->slots[at] - 1;
        if (visited->digests[number].a == digest.a && visited->digests[number].b == digest.b) {
            *number_out = number;
            *is_new_out = false;
            return 0;
        }
    }
    visited->slots[at] = (uint32_t)(visited->n + 1);
    visited->digests[visited->n] = digest;
    visited->parents[visited->n] = parent;
    *number_out = (uint32_t)visited->n++;
    *is_new_out = true;
    return 0;
}

uint64_t store_visited_bytes(const struct store_visited *visited)
{
    return visited->capacity * (sizeof(struct digest) + sizeof(uint32_t)) +
           visited->n_slots * sizeof(uint32_t);
}

/* ---- packed states --------------------------------------------------------------------------- */

/*
 * Packed: for the world and for each core the number of words in use, then runs of words that
 * differ from the base: (words skipped << 32 | words that follow), words. A run of 0, 0 ends a
 * part. The word before all that is free for the number of the state.
 */
#define WORD sizeof(uint64_t)

static size_t words_of(size_t bytes)
{
    return (bytes + WORD - 1) / WORD;
}

static size_t part_capacity(const struct lab *lab, uint32_t part)
{
    return part == 0 ? words_of(sizeof(struct world)) : words_of(lab->core_bytes);
}

static void copy_part(const struct lab *lab, uint32_t part, uint64_t *out, size_t *n_out)
{
    size_t bytes =
        part == 0 ? lab_world_bytes(&lab->world) : dsm_core_used_bytes(lab->cores[part - 1]);

    *n_out = words_of(bytes);
    out[*n_out - 1] = 0;
    memcpy(out, part == 0 ? (const void *)&lab->world : lab->memories[part - 1], bytes);
}

int store_image_open(struct store_image *image, const struct lab *lab)
{
    *image = (struct store_image){0};
    for (uint32_t part = 0; part <= lab->config.n_ranks; part++) {
        image->n_words += part_capacity(lab, part);
    }
    image->base = calloc(image->n_words, WORD);
    image->scratch = calloc(image->n_words, WORD);
    image->packed = calloc(2 * image->n_words + 4 * WORLD_MAX_RANKS + 8, WORD);
    if (image->base == NULL || image->scratch == NULL || image->packed == NULL) {
        store_image_close(image);
        return DSM_E_NOMEM;
    }
    uint64_t *at = image->base;
    for (uint32_t part = 0; part <= lab->config.n_ranks; part++) {
        size_t n;
        copy_part(lab, part, at, &n);
        at += part_capacity(lab, part);
    }
    return 0;
}

void store_image_close(struct store_image *image)
{
    free(image->base);
    free(image->scratch);
    free(image->packed);
    *image = (struct store_image){0};
}

static uint64_t *pack_part(uint64_t *out, const uint64_t *base, const uint64_t *now, size_t n)
{
    size_t from = 0;

    *out++ = n;
    for (;;) {
        size_t start = from;
        while (start < n && now[start] == base[start]) {
            start++;
        }
        size_t end = start;
        while (end < n && now[end] != base[end]) {
            end++;
        }
        *out++ = (uint64_t)(start - from) << 32 | (end - start);
        if (end == start) {
            out[-1] = 0;
            return out;
        }
        memcpy(out, now + start, (end - start) * WORD);
        out += end - start;
        from = end;
    }
}

void store_image_pack(struct store_image *image, const struct lab *lab)
{
    const uint64_t *base = image->base;
    uint64_t *out = image->packed + 1;

    for (uint32_t part = 0; part <= lab->config.n_ranks; part++) {
        size_t n;
        copy_part(lab, part, image->scratch, &n);
        out = pack_part(out, base, image->scratch, n);
        base += part_capacity(lab, part);
    }
    image->n_packed = (size_t)(out - image->packed);
}

void store_image_unpack(struct store_image *image, struct lab *lab, const uint64_t *words, size_t n)
{
    const uint64_t *base = image->base, *end = words + n;

    for (uint32_t part = 0; part <= lab->config.n_ranks && words < end; part++) {
        uint64_t *to = part == 0 ? (uint64_t *)(void *)&lab->world
                                 : (uint64_t *)(void *)lab->memories[part - 1];
        size_t n_words = *words++, at = 0;
        memcpy(to, base, n_words * WORD);
        while (*words != 0) {
            size_t n_run = (uint32_t)*words;
            at += *words >> 32;
            memcpy(to + at, words + 1, n_run * WORD);
            at += n_run;
            words += n_run + 1;
        }
        words++;
        base += part_capacity(lab, part);
    }
}

/* ---- queue ----------------------------------------------------------------------------------- */

#define BLOCK_WORDS (1u << 18) /* 2 MiB; larger than any state */

struct store_block {
    struct store_block *next;
    size_t n, at;
    uint64_t words[BLOCK_WORDS];
};

int store_queue_push(struct store_queue *queue, const uint64_t *words, size_t n)
{
    struct store_block *block = queue->tail;

    if (block == NULL || block->n + n + 1 > BLOCK_WORDS) {
        block = malloc(sizeof *block);
        if (block == NULL || n + 1 > BLOCK_WORDS) {
            free(block);
            return DSM_E_NOMEM;
        }
        block->next = NULL;
        block->n = block->at = 0;
        if (queue->tail != NULL) {
            queue->tail->next = block;
        } else {
            queue->head = block;
        }
        queue->tail = block;
        queue->n_bytes += sizeof *block;
    }
    block->words[block->n++] = n;
    memcpy(&block->words[block->n], words, n * WORD);
    block->n += n;
    return 0;
}

bool store_queue_pop(struct store_queue *queue, const uint64_t **words_out, size_t *n_out)
{
    struct store_block *block = queue->head;

    while (block != NULL && block->at == block->n && block->next != NULL) {
        queue->head = block->next;
        queue->n_bytes -= sizeof *block;
        free(block);
        block = queue->head;
    }
    if (block == NULL || block->at == block->n) {
        return false;
    }
    *n_out = block->words[block->at];
    *words_out = &block->words[block->at + 1];
    block->at += *n_out + 1;
    return true;
}

void store_queue_close(struct store_queue *queue)
{
    while (queue->head != NULL) {
        struct store_block *next = queue->head->next;
        free(queue->head);
        queue->head = next;
    }
    *queue = (struct store_queue){0};
}

/* ---- numbers --------------------------------------------------------------------------------- */

int store_numbers_push(struct store_numbers *numbers, uint32_t value)
{
    if (numbers->n == numbers->capacity) {
        uint64_t capacity = numbers->capacity ? numbers->capacity * 2 : 65536;
        uint32_t *items = realloc(numbers->items, capacity * sizeof items[0]);
        if (items == NULL) {
            return DSM_E_NOMEM;
        }
        numbers->items = items;
        numbers->capacity = capacity;
    }
    numbers->items[numbers->n++] = value;
    return 0;
}

void store_numbers_close(struct store_numbers *numbers)
{
    free(numbers->items);
    *numbers = (struct store_numbers){0};
}
