/* SPDX-License-Identifier: BSD-3-Clause */
/* profile.c - see profile.h. */
#define _GNU_SOURCE
#include "runtime/profile.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* 26,000 records, of which half are left when the next window is asked for: a quarter of a second
 * at the highest rates. */
#define WINDOW_BYTES 1048576u
#define WINDOW_SLOTS ((WINDOW_BYTES - DSM_PROFILE_SECTION_BYTES) / DSM_PROFILE_SLOT_BYTES)

struct module {
    uint64_t start, end;
};

struct dsm_profile {
    struct dsm_profile_config config;
    int fd;
    char path[4096];
    uint64_t file_bytes; /* windows made so far end here; the service thread's */
    uint8_t *live;
    size_t live_bytes;
    /* under the driver's lock */
    uint8_t *window, *next, *retired; /* being filled, ready, to be unmapped */
    uint64_t window_at, next_at;      /* in the file */
    uint32_t n_slots;
    bool is_asked;          /* the service thread was woken for the next window */
    bool is_full;           /* there will be none */
    struct module *modules; /* told already; the service thread's */
    size_t n_modules;
};

static uint64_t realtime_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * DSM_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void set_word(struct dsm_profile *p, size_t index, uint64_t value)
{
    dsm_put_u64(p->live + DSM_PROFILE_SECTION_BYTES + 8 * index, value);
}

static void add_word(struct dsm_profile *p, size_t index, uint64_t value)
{
    uint8_t *word = p->live + DSM_PROFILE_SECTION_BYTES + 8 * index;
    dsm_put_u64(word, dsm_get_u64(word) + value);
}

static size_t n_words(const struct dsm_profile *p)
{
    return DSM_PROFILE_WORD_RECEIVED + p->config.n_ranks + DSM_PROFILE_N_COUNTERS;
}

/* Makes room in the file and maps it, with every page there: a store must neither meet a full disk
 * nor wait for one. */
static uint8_t *map_room(struct dsm_profile *p, uint64_t at, size_t len_bytes)
{
    int error = posix_fallocate(p->fd, (off_t)at, (off_t)len_bytes);
    if (error) {
        dsm_log(DSM_LOG_WARN,
                "the profile %s cannot grow beyond %lu bytes: %s; what follows is only "
                "counted",
                p->path, (unsigned long)at, strerror(error));
        return NULL;
    }
    void *map =
        mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, p->fd, (off_t)at);
    if (map == MAP_FAILED) {
        dsm_log(DSM_LOG_WARN, "the profile %s cannot be mapped: %s; what follows is only counted",
                p->path, strerror(errno));
        return NULL;
    }
    (void)madvise(map, len_bytes, MADV_DONTFORK);
    return map;
}

static uint8_t *make_window(struct dsm_profile *p, uint64_t *at_out)
{
    if (p->file_bytes + WINDOW_BYTES > p->config.max_bytes) {
        dsm_log(DSM_LOG_WARN,
                "the profile %s has reached its %lu bytes (DSM_PROFILE_MAX); what "
                "follows is only counted",
                p->path, (unsigned long)p->config.max_bytes);
        return NULL;
    }
    uint8_t *window = map_room(p, p->file_bytes, WINDOW_BYTES);
    if (!window)
        return NULL;
    dsm_profile_put_section(window, DSM_PROFILE_TAG_EVENTS, p->config.rank, WINDOW_BYTES);
    *at_out = p->file_bytes;
    p->file_bytes += WINDOW_BYTES;
    return window;
}

/* ---- recording ----------------------------------------------------------------------------- */

/* Room for n slots in a row in this window or the next; NULL: none. */
static uint8_t *reserve(struct dsm_profile *p, uint32_t n, bool *is_due)
{
    if (p->n_slots + n > WINDOW_SLOTS && p->next && !p->retired) {
        p->retired = p->window;
        p->window = p->next;
        p->window_at = p->next_at;
        p->next = NULL;
        p->n_slots = 0;
        p->is_asked = false;
    }
    *is_due = !p->is_asked && !p->is_full && (!p->next || p->retired) &&
              p->n_slots + n > WINDOW_SLOTS / 2;
    p->is_asked |= *is_due;
    if (p->n_slots + n > WINDOW_SLOTS) {
        add_word(p, DSM_PROFILE_WORD_DROPPED, 1);
        return NULL;
    }
    uint8_t *slot = p->window + DSM_PROFILE_SECTION_BYTES + p->n_slots * DSM_PROFILE_SLOT_BYTES;
    p->n_slots += n;
    return slot;
}

/* The slots are written: now they count. */
static void commit(struct dsm_profile *p)
{
    __atomic_signal_fence(__ATOMIC_RELEASE); /* a killed process leaves its stores in order */
    dsm_put_u64(p->window + 16, p->n_slots);
}

bool dsm_profile_add(struct dsm_profile *p, const struct dsm_profile_slot *slot)
{
    bool is_due;
    uint8_t *out = reserve(p, 1, &is_due);
    add_word(p, DSM_PROFILE_WORD_COUNT + slot->kind, 1);
    if (slot->kind != DSM_PROFILE_LOST && slot->kind != DSM_PROFILE_DOWNGRADED)
        add_word(p, DSM_PROFILE_WORD_TOTAL_NS + slot->kind, slot->c);
    if (out) {
        dsm_profile_put_slot(out, slot);
        commit(p);
    }
    return is_due;
}

void dsm_profile_received(struct dsm_profile *p, dsm_rank_t from, uint64_t len_bytes)
{
    if (from < p->config.n_ranks)
        add_word(p, DSM_PROFILE_WORD_RECEIVED + from, len_bytes);
}

void dsm_profile_count(struct dsm_profile *p, enum dsm_profile_counter counter, uint64_t value)
{
    set_word(p, DSM_PROFILE_WORD_RECEIVED + p->config.n_ranks + counter, value);
}

bool dsm_profile_add_text(struct dsm_profile *p, struct dsm_profile_slot *slot, const char *text)
{
    bool is_due;
    size_t len = strlen(text);
    if (len > DSM_PROFILE_TEXT_BYTES)
        len = DSM_PROFILE_TEXT_BYTES;
    slot->n_more = (uint8_t)((len + DSM_PROFILE_SLOT_BYTES - 1) / DSM_PROFILE_SLOT_BYTES);
    uint8_t *out = reserve(p, 1u + slot->n_more, &is_due);
    if (out) {
        dsm_profile_put_slot(out, slot);
        memset(out + DSM_PROFILE_SLOT_BYTES, 0, (size_t)slot->n_more * DSM_PROFILE_SLOT_BYTES);
        memcpy(out + DSM_PROFILE_SLOT_BYTES, text, len);
        commit(p);
    }
    return is_due;
}

/* ---- the code that runs here --------------------------------------------------------------- */

static bool is_told(struct dsm_profile *p, const struct module *m)
{
    for (size_t i = 0; i < p->n_modules; i++)
        if (p->modules[i].start == m->start && p->modules[i].end == m->end)
            return true;
    struct module *grown = realloc(p->modules, (p->n_modules + 1) * sizeof *grown);
    if (!grown)
        return true;
    grown[p->n_modules++] = *m;
    p->modules = grown;
    return false;
}

/* Executable mappings of files that were not told yet; more may have been loaded meanwhile. */
static void tell_modules(struct dsm_profile *p, void (*lock)(void *), void (*unlock)(void *),
                         void *user)
{
    char *line = NULL;
    size_t room = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && getline(&line, &room, maps) > 0) {
        unsigned long start, end, offset;
        char access[5];
        int path_at = 0;
        if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %n", &start, &end, access, &offset, &path_at) !=
                4 ||
            access[2] != 'x' || line[path_at] != '/')
            continue;
        struct module m = {start, end};
        line[strcspn(line, "\n")] = '\0';
        if (is_told(p, &m))
            continue;
        struct dsm_profile_slot slot = {.kind = DSM_PROFILE_MODULE,
                                        .peer = DSM_PROFILE_NO_PEER,
                                        .time_ns = dsm_clock_ns(),
                                        .a = start,
                                        .b = end,
                                        .c = offset};
        if (lock)
            lock(user);
        (void)dsm_profile_add_text(p, &slot, line + path_at);
        if (unlock)
            unlock(user);
    }
    free(line);
    if (maps)
        fclose(maps);
}

void dsm_profile_serve(struct dsm_profile *p, void (*lock)(void *), void (*unlock)(void *),
                       void *user)
{
    lock(user);
    uint8_t *retired = p->retired;
    bool is_wanted = !p->next && !p->is_full && p->is_asked;
    p->retired = NULL;
    unlock(user);
    if (retired)
        munmap(retired, WINDOW_BYTES);
    if (!is_wanted)
        return;
    uint64_t at = 0;
    uint8_t *next = make_window(p, &at);
    lock(user);
    p->next = next;
    p->next_at = at;
    p->is_full = !next;
    unlock(user);
    tell_modules(p, lock, unlock, user);
}

/* ---- start and stop ------------------------------------------------------------------------ */

static int open_file(struct dsm_profile *p)
{
    uint64_t room =
        DSM_ALIGN_UP(DSM_PROFILE_HEADER_BYTES + DSM_PROFILE_SECTION_BYTES + 8ull * n_words(p),
                     (uint64_t)DSM_PAGE_BYTES);
    p->fd = open(p->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (p->fd < 0) {
        dsm_log(DSM_LOG_ERROR, "the profile %s cannot be written: %s", p->path, strerror(errno));
        return DSM_E_SYSTEM;
    }
    uint8_t *map = map_room(p, 0, room);
    if (!map)
        return DSM_E_SYSTEM;
    dsm_profile_put_header(map);
    p->live = map + DSM_PROFILE_HEADER_BYTES;
    p->live_bytes = room;
    dsm_profile_put_section(p->live, DSM_PROFILE_TAG_LIVE, p->config.rank,
                            room - DSM_PROFILE_HEADER_BYTES);
    dsm_put_u64(p->live + 16, n_words(p));
    p->file_bytes = room;
    set_word(p, DSM_PROFILE_WORD_N_RANKS, p->config.n_ranks);
    set_word(p, DSM_PROFILE_WORD_PID, (uint64_t)getpid());
    set_word(p, DSM_PROFILE_WORD_BASE, p->config.base);
    set_word(p, DSM_PROFILE_WORD_START_NS, dsm_clock_ns());
    set_word(p, DSM_PROFILE_WORD_START_REAL_NS, realtime_ns());
    p->window = make_window(p, &p->window_at);
    if (p->window)
        p->next = make_window(p, &p->next_at);
    p->is_full = !p->next;
    return p->window ? 0 : DSM_E_SYSTEM;
}

static void close_file(struct dsm_profile *p)
{
    if (p->live)
        munmap(p->live - DSM_PROFILE_HEADER_BYTES, p->live_bytes);
    if (p->window)
        munmap(p->window, WINDOW_BYTES);
    if (p->next)
        munmap(p->next, WINDOW_BYTES);
    if (p->retired)
        munmap(p->retired, WINDOW_BYTES);
    if (p->fd >= 0)
        close(p->fd);
    free(p->modules);
    free(p);
}

int dsm_profile_start(struct dsm_profile **profile_out, const struct dsm_profile_config *config)
{
    struct dsm_profile *p = calloc(1, sizeof *p);
    if (!p)
        return DSM_E_NOMEM;
    p->config = *config;
    p->fd = -1;
    dsm_format(p->path, sizeof p->path, "%s.%u", config->path, config->rank);
    int error = open_file(p);
    if (error) {
        close_file(p);
        return error;
    }
    tell_modules(p, NULL, NULL, NULL);
    *profile_out = p;
    return 0;
}

void dsm_profile_stop(struct dsm_profile *p)
{
    tell_modules(p, NULL, NULL, NULL);
    set_word(p, DSM_PROFILE_WORD_END_NS, dsm_clock_ns());
    uint64_t used = DSM_PROFILE_SECTION_BYTES + (uint64_t)p->n_slots * DSM_PROFILE_SLOT_BYTES;
    dsm_put_u64(p->window + 8, used);
    /* Room behind the last record is no loss, only larger. */
    if (ftruncate(p->fd, (off_t)(p->window_at + used)) != 0)
        dsm_log(DSM_LOG_DEBUG, "the profile %s keeps its spare room: %s", p->path, strerror(errno));
    close_file(p);
}
