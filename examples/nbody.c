/* SPDX-License-Identifier: BSD-3-Clause */
/* nbody.c - Barnes-Hut (kernels/nbody.c) from the command line. */
#include "kernels/command.h"

int main(int argc, char **argv)
{
    static const struct command command = {
        .kernel = &kernel_nbody,
        .sizes = {{'n', "bodies", 16384, 1, 1u << 24, false}, {'i', "steps", 4, 0, 1000000, false}},
    };

    return command_main(argc, argv, &command);
}
