/* SPDX-License-Identifier: BSD-3-Clause */
/* stencil.c - red-black Gauss-Seidel (kernels/stencil.c) from the command line. */
#include <dsm/dsm.h>
#include <getopt.h>
#include <stdio.h>
#include "kernels/report.h"

static void usage(FILE *to)
{
    fprintf(to, "usage: stencil [-n size] [-i iterations] [--sequential]\n"
                "  -n  rows and columns of the grid, even (2048)\n"
                "  -i  iterations, each a red and a black sweep (50)\n"
                "  --sequential  on private memory, without dsm\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"sequential", no_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    size_t n = 2048;
    unsigned iterations = 50;
    bool is_sequential = false;
    struct kernel_result result = {0};
    char input[64];
    uint32_t rank = 0, size = 0;
    int option, err;

    while ((option = getopt_long(argc, argv, "n:i:h", options, NULL)) != -1) {
        switch (option) {
        case 'n':
            n = option_number("stencil", "-n", optarg, 2, 65536);
            break;
        case 'i':
            iterations = (unsigned)option_number("stencil", "-i", optarg, 0, 1000000);
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
        fprintf(stderr, "stencil: unexpected argument '%s'\n", argv[optind]);
        return 2;
    }
    if (n % 2 != 0) {
        fprintf(stderr, "stencil: -n %zu is not even\n", n);
        return 2;
    }
    if (is_sequential) {
        err = kernel_stencil_sequential(n, iterations, true, &result);
    } else {
        if (dsm_init(NULL) < 0)
            return 1;
        rank = dsm_rank();
        size = dsm_size();
        err = kernel_stencil(n, iterations, true, &result);
    }
    if (rank == 0 && err == 0) {
        snprintf(input, sizeof(input), "n%zu,i%u", n, iterations);
        report_result("stencil", input, size, &result);
    }
    if (!is_sequential && dsm_finalize() < 0)
        return 1;
    return report_status("stencil", rank, err, &result);
}
