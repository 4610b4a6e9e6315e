/* SPDX-License-Identifier: BSD-3-Clause */
/* radix.c - radix sort (kernels/radix.c) from the command line. */
#include "kernels/command.h"

int main(int argc, char **argv)
{
    static const struct command command = {
        .kernel = &kernel_radix,
        .sizes = {{'n', "keys", 4194304, 1, 1u << 30, false}},
    };

    return command_main(argc, argv, &command);
}
