/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * malloc.c - linked in by dsmcc --shared-malloc: what the program itself allocates is shared from
 * MAIN_INITENV on (or dsm_init). The linker sends only the program's own calls here (--wrap), so
 * the C library's and libdsm's memory stays private, and free() takes both kinds.
 */
#include <dsm/dsm.h>
#include <dsm/parmacs.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void __real_free(void *ptr);
void *__real_aligned_alloc(size_t alignment, size_t size);
size_t __real_malloc_usable_size(void *ptr);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__wrap_reallocarray(void *ptr, size_t count, size_t size);
void __wrap_free(void *ptr);
size_t __wrap_malloc_usable_size(void *ptr);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_memalign(size_t alignment, size_t size);
void *__wrap_valloc(size_t size);
void *__wrap_pvalloc(size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

/* Where shared memory was when there was any: kept beyond the end, for exit handlers that free. */
static char *base;
static size_t base_bytes;

static int is_open(void)
{
    char *now = dsm_base();
    if (now && base != now) {
        base_bytes = dsm_region_bytes();
        base = now;
    }
    return now != NULL;
}

static int is_shared(const void *ptr)
{
    (void)is_open();
    return base && (const char *)ptr >= base && (size_t)((const char *)ptr - base) < base_bytes;
}

void *__wrap_malloc(size_t size)
{
    return is_open() ? dsm_malloc(size) : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_open() ? dsm_calloc(count, size) : __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    if (!ptr)
        return __wrap_malloc(size);
    return is_shared(ptr) ? dsm_realloc(ptr, size) : __real_realloc(ptr, size);
}

void *__wrap_reallocarray(void *ptr, size_t count, size_t size)
{
    size_t bytes;
    if (!__builtin_mul_overflow(count, size, &bytes))
        return __wrap_realloc(ptr, bytes);
    errno = ENOMEM;
    return NULL;
}

void __wrap_free(void *ptr)
{
    if (!is_shared(ptr))
        __real_free(ptr);
    else if (is_open())
        (void)dsm_free(ptr); /* which says what was wrong */
}

size_t __wrap_malloc_usable_size(void *ptr)
{
    return is_shared(ptr) ? dsm_program_usable_bytes(ptr) : __real_malloc_usable_size(ptr);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return is_open() ? dsm_aligned_alloc(alignment, size) : __real_aligned_alloc(alignment, size);
}

void *__wrap_memalign(size_t alignment, size_t size)
{
    return __wrap_aligned_alloc(alignment, size);
}

void *__wrap_valloc(size_t size)
{
    return __wrap_aligned_alloc(4096, size);
}

void *__wrap_pvalloc(size_t size)
{
    if (size <= SIZE_MAX - 4095)
        return __wrap_aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    errno = ENOMEM;
    return NULL;
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    int before = errno;
    void *ptr = alignment % sizeof(void *) ? NULL : __wrap_aligned_alloc(alignment, size);
    int error = alignment % sizeof(void *) ? EINVAL : errno;
    errno = before;
    if (!ptr)
        return error;
    *out = ptr;
    return 0;
}

char *__wrap_strndup(const char *text, size_t len)
{
    size_t n = strnlen(text, len);
    char *copy = __wrap_malloc(n + 1);
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}
