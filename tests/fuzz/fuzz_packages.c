/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_packages.c - package lists: whatever they hold, the graph they make is one. */
#define _GNU_SOURCE /* memfd_create */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "examples/kernels/debian.h"
#include "fuzz.h"

static void check_graph(const struct debian *debian)
{
    const struct kernel_graph *graph = &debian->graph;
    uint32_t n_edges = graph->in_start[graph->n_vertices], sum = 0;

    FUZZ_CHECK(graph->n_vertices > 0 && graph->in_start[0] == 0);
    for (uint32_t v = 0; v < graph->n_vertices; v++) {
        FUZZ_CHECK(graph->in_start[v] <= graph->in_start[v + 1]);
        FUZZ_CHECK(v == 0 || strcmp(debian->name[v - 1], debian->name[v]) < 0);
        sum += graph->out_degree[v];
        for (uint32_t e = graph->in_start[v]; e < graph->in_start[v + 1]; e++)
            FUZZ_CHECK(graph->in_source[e] < graph->n_vertices && graph->in_source[e] != v);
    }
    FUZZ_CHECK(sum == n_edges);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    static int file = -1;
    static char path[64];
    char *const paths[] = {path};
    struct debian debian;

    if (file < 0) {
        file = memfd_create("packages", MFD_CLOEXEC);
        FUZZ_CHECK(file >= 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
        /* Lists without a package say so each time; FUZZ_LOUD when looking into a failure. */
        FUZZ_CHECK(getenv("FUZZ_LOUD") != NULL || freopen("/dev/null", "w", stderr) != NULL);
    }
    FUZZ_CHECK(ftruncate(file, 0) == 0);
    FUZZ_CHECK(pwrite(file, bytes, len_bytes, 0) == (ssize_t)len_bytes);
    if (debian_read(&debian, paths, 1) == 0) {
        check_graph(&debian);
        debian_close(&debian);
    }
    return 0;
}

size_t fuzz_seed(unsigned number, uint8_t out[FUZZ_MAX_BYTES])
{
    static const char *const lists[] = {
        "Package: a\nDepends: b (>= 1.0), c | d\nDescription: x\n more\n\nPackage: b\n"
        "Provides: c (= 1), e\n\nPackage: d\nPre-Depends: a:any, b [amd64] <!x>\n",
        "Package: a\nStatus: install ok installed\nDepends: v\n\nPackage: b\n"
        "Status: deinstall ok config-files\n\nPackage: c\nProvides: v\n\nPackage: a\n"};

    if (number >= sizeof(lists) / sizeof(lists[0]))
        return 0;
    strcpy((char *)out, lists[number]);
    return strlen(lists[number]);
}
