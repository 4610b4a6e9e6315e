/* SPDX-License-Identifier: BSD-3-Clause */
/* fft.c - Six-step FFT (kernels/fft.c) from the command line. */
#include "kernels/command.h"

int main(int argc, char **argv)
{
    static const struct command command = {
        .kernel = &kernel_fft,
        .sizes = {{'m', "rows and columns of the matrix of points, a power of two", 1024, 2, 16384,
                   true}},
    };

    return command_main(argc, argv, &command);
}
