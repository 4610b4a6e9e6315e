/* SPDX-License-Identifier: BSD-3-Clause */
/* config.c - the structs of dsm.h with every value at its default. */
#include <dsm/dsm.h>

void dsm_config_init(struct dsm_config *config)
{
    if (config)
        *config = (struct dsm_config){.struct_size = sizeof *config, .rank = -1, .spin_us = -1};
}

void dsm_alloc_options_init(struct dsm_alloc_options *options)
{
    if (options)
        *options = (struct dsm_alloc_options){.struct_size = sizeof *options};
}
