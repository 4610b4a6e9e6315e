/* SPDX-License-Identifier: BSD-3-Clause */
/* options.h - what the command line of the explorer says. */
#ifndef DSM_TESTS_EXPLORE_OPTIONS_H
#define DSM_TESTS_EXPLORE_OPTIONS_H

#include "search.h"
#include "suite.h"

#define OPTIONS_ALL_PLANTS (-1)

struct options {
    struct suite_instance own; /* built from --ranks and so on */
    char programs[512];        /* of own */
    bool has_own;
    bool is_all; /* every instance, not just those of make check */
    bool is_list;
    bool has_trace;
    const char *instance; /* NULL: not one alone */
    int plant;            /* enum dsm_plant, or OPTIONS_ALL_PLANTS */
    uint64_t n_walks, seed;
    struct search_limits limits;
};

/* Prints one line and exits with 2 when something is wrong; with 0 after --help. */
void options_parse(int argc, char **argv, struct options *options_out);
const char *options_plant_name(int plant);
const char *options_plant_text(int plant);

#endif
