/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_seeds.c - with libFuzzer: `TARGET --write-seeds DIRECTORY` fills a corpus to start from. */
#include <string.h>
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static uint8_t bytes[FUZZ_MAX_BYTES];
    char path[4096];
    size_t len;

    if (*argc != 3 || strcmp((*argv)[1], "--write-seeds") != 0)
        return 0;
    for (unsigned i = 0; (len = fuzz_seed(i, bytes)) > 0; i++) {
        FILE *file;

        snprintf(path, sizeof(path), "%s/seed-%u", (*argv)[2], i);
        file = fopen(path, "wb");
        if (file == NULL || fwrite(bytes, 1, len, file) != len || fclose(file) != 0) {
            perror(path);
            exit(2);
        }
    }
    exit(0);
}
