/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - dsmrun: one program, two jobs; see launcher.h and supervisor.h. */
#include "config.h"
#include "base/log.h"
#include "dsmrun/launcher.h"
#include "dsmrun/options.h"
#include "dsmrun/supervisor.h"
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct dsm_run_options options;
    dsm_log_setup(NULL, "dsmrun");
    if (dsm_log_setup(getenv("DSM_LOG"), NULL) != 0) {
        dsm_log(DSM_LOG_ERROR, "DSM_LOG=%s: allowed are error, warn, info, debug",
                getenv("DSM_LOG"));
        return 1;
    }
    int status = 1;
    switch (dsm_run_options_parse(argc, argv, &options)) {
    case DSM_RUN_OPTIONS_DONE:
        status = 0;
        break;
    case DSM_RUN_OPTIONS_BAD:
        break;
    case DSM_RUN_OPTIONS_GO:
        status = options.supervise ? dsm_supervisor_run() : dsm_launcher_run(&options);
        break;
    }
    dsm_run_options_free(&options);
    return status;
}
