/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * debian.h - the graph of who depends on whom among Debian's packages, as this machine knows them.
 */
#ifndef DSM_EXAMPLES_DEBIAN_H
#define DSM_EXAMPLES_DEBIAN_H

#include "kernels.h"

struct debian {
    struct kernel_graph graph; /* an edge from a package to each one it depends on */
    char **name;               /* of each vertex; sorted */
    uint32_t n_files;          /* package lists that were read */
    uint32_t n_unmet;          /* dependencies that no package here provides */
    char *text;                /* that the names point into */
};

/*
 * Reads Packages files (plain, or in what form apt keeps them: .lz4, .xz, .gz ...); with none given
 * apt's lists in /var/lib/apt/lists, and /var/lib/dpkg/status where there are none.
 *
 * Pre-Depends and Depends count. Of alternatives `a | b` the first that is a package here, else the
 * first that something provides; a virtual package stands for all its providers. Of a package
 * listed more than once the first entry counts, files taken in the order of their names. Versions
 * and architectures are not compared.
 *
 * Prints one line and returns -1 when a file cannot be read or holds no package.
 */
int debian_read(struct debian *out, char *const *paths, int n_paths);
void debian_close(struct debian *debian);

#endif
