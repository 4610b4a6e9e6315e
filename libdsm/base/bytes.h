/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes.h - little-endian integers in byte arrays, and sizes with units. */
#ifndef DSM_BASE_BYTES_H
#define DSM_BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define DSM_ALIGN_UP(x, a)   (((x) + ((a)-1)) & ~((a)-1))
#define DSM_ALIGN_DOWN(x, a) ((x) & ~((a)-1))

static inline void dsm_put_u32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}
static inline void dsm_put_u64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}
static inline uint32_t dsm_get_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}
static inline uint64_t dsm_get_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

#endif
