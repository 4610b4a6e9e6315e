/* SPDX-License-Identifier: BSD-3-Clause */
/* water.c - molecules like water's (kernels/water.c) from the command line. */
#include "kernels/command.h"

int main(int argc, char **argv)
{
    static const struct command command = {
        .kernel = &kernel_water,
        .sizes = {{'n', "molecules", 512, 1, 1u << 20, false},
                  {'i', "steps", 20, 0, 1000000, false}},
    };

    return command_main(argc, argv, &command);
}
