/* SPDX-License-Identifier: BSD-3-Clause */
/* lu.c - blocked LU factorisation (kernels/lu.c) from the command line. */
#include <dsm/dsm.h>
#include <getopt.h>
#include <stdio.h>
#include "kernels/report.h"

static void usage(FILE *to)
{
    fprintf(to, "usage: lu [-n size] [-b block] [--sequential]\n"
                "  -n  rows and columns of the matrix, a multiple of block (1024)\n"
                "  -b  rows and columns of a block (32)\n"
                "  --sequential  on private memory, without dsm\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"sequential", no_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    size_t n = 1024, block = 32;
    bool is_sequential = false;
    struct kernel_result result = {0};
    char input[64];
    uint32_t rank = 0, size = 0;
    int option, err;

    while ((option = getopt_long(argc, argv, "n:b:h", options, NULL)) != -1) {
        switch (option) {
        case 'n':
            n = option_number("lu", "-n", optarg, 1, 65536);
            break;
        case 'b':
            block = option_number("lu", "-b", optarg, 1, 1024);
            break;
        case 's':
            is_sequential = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "lu: unexpected argument '%s'\n", argv[optind]);
        return 2;
    }
    if (n % block != 0) {
        fprintf(stderr, "lu: -n %zu is not a multiple of -b %zu\n", n, block);
        return 2;
    }
    if (is_sequential) {
        err = kernel_lu_sequential(n, block, true, &result);
    } else {
        if (dsm_init(NULL) < 0)
            return 1;
        rank = dsm_rank();
        size = dsm_size();
        err = kernel_lu(n, block, true, &result);
    }
    if (rank == 0 && err == 0) {
        snprintf(input, sizeof(input), "n%zu,b%zu", n, block);
        report_result("lu", input, size, &result);
    }
    if (!is_sequential && dsm_finalize() < 0)
        return 1;
    return report_status("lu", rank, err, &result);
}
