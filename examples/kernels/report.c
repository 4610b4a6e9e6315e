/* SPDX-License-Identifier: BSD-3-Clause */
/* report.c - command lines and closing lines of the examples. */
#include "report.h"

#include <dsm/dsm.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t option_number(const char *program, const char *option, const char *text, uint64_t min,
                       uint64_t max)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < min || value > max) {
        fprintf(stderr, "%s: %s %s: expected a number from %" PRIu64 " to %" PRIu64 "\n", program,
                option, text, min, max);
        exit(2);
    }
    return value;
}

void report_result(const char *name, const char *input, uint32_t n_ranks,
                   const struct kernel_result *result)
{
    printf("result name=%s input=%s ranks=%" PRIu32 " seconds=%.4f verified=%s residual=%.3g "
           "iterations=%u faults=%" PRIu64 " bytes=%" PRIu64 " checksum=%016" PRIx64 "\n",
           name, input, n_ranks, result->seconds, result->is_verified ? "yes" : "no",
           result->residual, result->iterations, result->faults, result->bytes, result->checksum);
    fflush(stdout);
}

int report_status(const char *name, uint32_t rank, int error, const struct kernel_result *result)
{
    if (error < 0) {
        fprintf(stderr, "%s: %s\n", name, dsm_strerror(error));
        return 1;
    }
    if (!result->is_verified) {
        if (rank == 0)
            fprintf(stderr, "%s: the result is wrong: residual %g\n", name, result->residual);
        return 1;
    }
    return 0;
}
