/* SPDX-License-Identifier: BSD-3-Clause */
/* launcher_profile.c - the file of --profile: one header, then the sections of all ranks as the
 * hosts send them. */
#include "config.h"
#include "dsmrun/launcher_private.h"
#include "base/log.h"
#include "proto/profile.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <string.h>

/* Once: what is there already stays, and dsm-report takes it. */
static void give_up(struct dsm_launcher *l, const char *what)
{
    dsm_log(DSM_LOG_ERROR, "--profile %s: %s: %s", l->options->profile, what, strerror(errno));
    if (l->status == 0)
        l->status = 1;
    if (l->profile)
        fclose(l->profile);
    l->profile = NULL;
}

int dsm_launcher_open_profile(struct dsm_launcher *l)
{
    uint8_t header[DSM_PROFILE_HEADER_BYTES];
    if (!l->options->profile)
        return 0;
    l->profile = fopen(l->options->profile, "we");
    if (!l->profile) {
        give_up(l, "cannot be written");
        return DSM_E_SYSTEM;
    }
    dsm_profile_put_header(header);
    if (fwrite(header, sizeof header, 1, l->profile) == 1 && fflush(l->profile) == 0)
        return 0;
    give_up(l, "cannot be written");
    return DSM_E_SYSTEM;
}

void dsm_launcher_on_profile(struct dsm_launcher *l, const Dsm__Profile *profile)
{
    if (l->profile && profile->section.len &&
        fwrite(profile->section.data, profile->section.len, 1, l->profile) != 1)
        give_up(l, "is not complete");
}

void dsm_launcher_close_profile(struct dsm_launcher *l)
{
    if (!l->profile)
        return;
    FILE *file = l->profile;
    l->profile = NULL;
    if (fclose(file) != 0)
        give_up(l, "is not complete");
}
