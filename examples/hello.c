/* SPDX-License-Identifier: BSD-3-Clause */
/* hello.c - every rank writes a line into the region, rank 0 reads them all. */
#include <dsm/dsm.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_BYTES 128

int main(void)
{
    char host[64] = "";
    char(*lines)[LINE_BYTES];
    void *addr;

    /* Every call that fails says so itself, or returns what dsm_strerror explains. */
    if (dsm_init(NULL) < 0)
        return 1;
    if (dsm_alloc(dsm_size() * sizeof(*lines), NULL, &addr) < 0)
        dsm_abort(1);
    lines = addr;
    gethostname(host, sizeof(host) - 1);
    snprintf(lines[dsm_rank()], LINE_BYTES, "hello from rank %u of %u, process %d on %s",
             dsm_rank(), dsm_size(), (int)getpid(), host);
    if (dsm_barrier() < 0)
        dsm_abort(1);
    if (dsm_rank() == 0)
        for (uint32_t r = 0; r < dsm_size(); r++)
            puts(lines[r]);
    return dsm_finalize() < 0;
}
