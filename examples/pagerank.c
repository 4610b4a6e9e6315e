/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pagerank.c - which of Debian's packages matter most to the others.
 *
 * Rank 0 reads the package lists of this machine (kernels/debian.h); the graph goes into the region
 * and all ranks compute on it (kernels/pagerank.c).
 */
#include <dsm/dsm.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "kernels/debian.h"
#include "kernels/report.h"

struct options {
    double tolerance;
    uint64_t n_top;
    bool is_sequential;
    char **files;
    int n_files;
};

static void usage(FILE *to)
{
    fprintf(to,
            "usage: pagerank [-e digits] [-k count] [--sequential] [PACKAGES-FILE...]\n"
            "  -e  iterate until the changes sum to less than 10^-digits (10)\n"
            "  -k  how many packages to print (10)\n"
            "  --sequential  on private memory, without dsm\n"
            "Without files it reads apt's package lists, or dpkg's status where there are none.\n");
}

static struct options parse(int argc, char **argv)
{
    static const struct option long_options[] = {{"sequential", no_argument, NULL, 's'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    struct options options = {.tolerance = 1e-10, .n_top = 10};
    int option;

    while ((option = getopt_long(argc, argv, "e:k:h", long_options, NULL)) != -1) {
        switch (option) {
        case 'e': {
            uint64_t digits = option_number("pagerank", "-e", optarg, 1, 14);

            for (options.tolerance = 1; digits > 0; digits--)
                options.tolerance /= 10;
            break;
        }
        case 'k':
            options.n_top = option_number("pagerank", "-k", optarg, 0, 1000000);
            break;
        case 's':
            options.is_sequential = true;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    options.files = argv + optind;
    options.n_files = argc - optind;
    return options;
}

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Reads the graph and says how large it is. */
static void read_graph(const struct options *options, struct debian *debian)
{
    double started = now_s();

    if (debian_read(debian, options->files, options->n_files) < 0) {
        if (options->is_sequential)
            exit(1);
        dsm_abort(1);
    }
    printf("%" PRIu32 " packages, %" PRIu32 " dependencies (%" PRIu32 " unmet) from %" PRIu32
           " list%s, read in %.2f s\n",
           debian->graph.n_vertices, debian->graph.in_start[debian->graph.n_vertices],
           debian->n_unmet, debian->n_files, debian->n_files == 1 ? "" : "s", now_s() - started);
}

static void print_top(const struct debian *debian, const double *rank, uint64_t n_top)
{
    bool *is_printed = calloc(debian->graph.n_vertices, sizeof(*is_printed));

    for (uint64_t place = 1; is_printed != NULL && place <= n_top; place++) {
        uint32_t best = UINT32_MAX;

        for (uint32_t v = 0; v < debian->graph.n_vertices; v++)
            if (!is_printed[v] && (best == UINT32_MAX || rank[v] > rank[best]))
                best = v;
        if (best == UINT32_MAX)
            break;
        is_printed[best] = true;
        printf("%3" PRIu64 "  %.6f  %s\n", place, rank[best], debian->name[best]);
    }
    free(is_printed);
}

int main(int argc, char **argv)
{
    struct options options = parse(argc, argv);
    struct kernel_result result = {0};
    struct debian debian = {0};
    double *rank_of = NULL;
    uint32_t rank = 0, size = 0;
    int err;

    if (!options.is_sequential) {
        if (dsm_init(NULL) < 0)
            return 1;
        rank = dsm_rank();
        size = dsm_size();
    }
    if (rank == 0) {
        read_graph(&options, &debian);
        rank_of = calloc(debian.graph.n_vertices, sizeof(*rank_of));
    }
    if (options.is_sequential)
        err = kernel_pagerank_sequential(&debian.graph, options.tolerance, rank_of, &result);
    else
        err = kernel_pagerank(rank == 0 ? &debian.graph : NULL, options.tolerance, true, rank_of,
                              &result);
    if (rank == 0 && err == 0) {
        char input[64];

        snprintf(input, sizeof(input), "debian,%" PRIu32 ",%" PRIu32, debian.graph.n_vertices,
                 debian.graph.in_start[debian.graph.n_vertices]);
        print_top(&debian, rank_of, options.n_top);
        report_result("pagerank", input, size, &result);
    }
    free(rank_of);
    debian_close(&debian);
    if (!options.is_sequential && dsm_finalize() < 0)
        return 1;
    return report_status("pagerank", rank, err, &result);
}
