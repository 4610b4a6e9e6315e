/* SPDX-License-Identifier: BSD-3-Clause */
/* strings.c - vectors of strings in private memory. */
#include "trap/strings.h"
#include "trap/bounce.h"
#include <stdint.h>
#include <string.h>

struct measure {
    size_t count;
    size_t shared_bytes; /* of strings in the region */
    bool is_needed;
};

static struct measure measure(char *const *vector)
{
    struct measure m = {0, 0, false};
    for (; vector[m.count]; m.count++) {
        if (dsm_bounce_touches(vector[m.count], 1))
            m.shared_bytes += strlen(vector[m.count]) + 1;
    }
    m.is_needed = m.shared_bytes > 0 || dsm_bounce_touches(vector, (m.count + 1) * sizeof *vector);
    return m;
}

int dsm_strings_open(struct dsm_strings *strings, char *const *vector)
{
    *strings = (struct dsm_strings){vector, {NULL, 0}};
    if (!vector || !dsm_bounce_is_needed() ||
        (!dsm_bounce_touches(vector, sizeof *vector) &&
         !dsm_bounce_is_readable(vector, sizeof *vector)))
        return 0;
    struct measure m = measure(vector);
    if (!m.is_needed)
        return 0;
    int error = dsm_private_take(&strings->memory, (m.count + 1) * sizeof *vector + m.shared_bytes);
    if (error != 0)
        return error;
    char **copy = strings->memory.addr;
    char *at = (char *)(copy + m.count + 1), *end = at + m.shared_bytes;
    for (size_t i = 0; i < m.count; i++) {
        copy[i] = vector[i];
        if (!copy[i] || !dsm_bounce_touches(copy[i], 1))
            continue;
        if (at == end) /* another thread has changed the vector since it was measured */
            continue;
        /* And it may have made the string longer. */
        size_t len = strnlen(copy[i], (size_t)(end - at) - 1);
        memcpy(at, copy[i], len);
        at[len] = '\0';
        copy[i] = at;
        at += len + 1;
    }
    copy[m.count] = NULL;
    strings->vector = copy;
    return 0;
}

void dsm_strings_close(struct dsm_strings *strings)
{
    dsm_private_give(&strings->memory);
}
