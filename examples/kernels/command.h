/* SPDX-License-Identifier: BSD-3-Clause */
/* command.h - a kernel as a program: sizes by options, on the job, sequentially or on threads. */
#ifndef DSM_EXAMPLES_COMMAND_H
#define DSM_EXAMPLES_COMMAND_H

#include "kernels.h"

#define COMMAND_MAX_SIZES 2u

struct command_size {
    char letter; /* the option; 0 ends the list */
    const char *text;
    uint64_t value, min, max; /* value: unless told otherwise */
    bool is_power_of_two;
};

struct command {
    const struct kernel *kernel;
    struct command_size sizes[COMMAND_MAX_SIZES];
};

/* The main function of the program; returns its exit status. */
int command_main(int argc, char **argv, const struct command *command);

#endif
