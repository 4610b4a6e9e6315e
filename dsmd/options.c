/* SPDX-License-Identifier: BSD-3-Clause */
/* options.c - see options.h. A setting has one name, one check and one place, whether it comes from
 * a flag or from the file. */
#include "config.h"
#include "dsmd/options.h"
#include "base/log.h"
#include "base/parse.h"
#include "proto/control.h"
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#define WHY_BYTES 160u

/* Returns NULL, or what is allowed. */
typedef const char *(*setter)(struct dsm_daemon_options *options, const char *value);

static const char *set_listen(struct dsm_daemon_options *o, const char *value)
{
    static const char allowed[] = "up to 8 addresses or host names, separated by commas";
    o->n_listen = 0;
    for (;;) {
        size_t n = strcspn(value, ",");
        if (n == 0 || n >= sizeof o->listen[0] || o->n_listen == DSM_DAEMON_MAX_LISTEN)
            return allowed;
        memcpy(o->listen[o->n_listen], value, n);
        o->listen[o->n_listen++][n] = '\0';
        if (!value[n])
            return NULL;
        value += n + 1;
        value += strspn(value, " ");
    }
}

static const char *set_port(struct dsm_daemon_options *o, const char *value)
{
    uint64_t port;
    if (dsm_parse_u64(value, 0, 65535, &port) != 0)
        return "0 to 65535, 0 for any free port";
    o->port = (uint16_t)port;
    return NULL;
}

static const char *set_seconds(const char *value, double max, double *seconds_out)
{
    double seconds;
    if (dsm_parse_seconds(value, &seconds) != 0 || seconds < 0.1 || seconds > max)
        return max > 1e5 ? "0.1 to 1000000 seconds" : "0.1 to 86400 seconds";
    *seconds_out = seconds;
    return NULL;
}

static const char *set_lease(struct dsm_daemon_options *o, const char *value)
{
    if (strcmp(value, "off") == 0) {
        o->lease_s = 0;
        return NULL;
    }
    return set_seconds(value, 86400, &o->lease_s) ? "0.1 to 86400 seconds, or off" : NULL;
}

static const char *set_join_timeout(struct dsm_daemon_options *o, const char *value)
{
    return set_seconds(value, 86400, &o->join_timeout_s);
}

static const char *set_drain_timeout(struct dsm_daemon_options *o, const char *value)
{
    return set_seconds(value, 1e6, &o->drain_timeout_s);
}

static const char *set_max_jobs(struct dsm_daemon_options *o, const char *value)
{
    uint64_t n;
    if (dsm_parse_u64(value, 1, 100000, &n) != 0)
        return "1 to 100000";
    o->max_jobs = (uint32_t)n;
    return NULL;
}

static const char *set_max_ranks(struct dsm_daemon_options *o, const char *value)
{
    uint64_t n;
    if (dsm_parse_u64(value, 1, DSM_CONTROL_MAX_RANKS, &n) != 0)
        return "1 to 4096";
    o->max_ranks = (uint32_t)n;
    return NULL;
}

static const char *set_log(struct dsm_daemon_options *o, const char *value)
{
    (void)o; /* the log is set up at once, for what follows */
    return dsm_log_setup(value, NULL) ? "error, warn, info, debug" : NULL;
}

static const struct {
    const char *name; /* in the file; a flag has - for _ */
    setter set;
} settings[] = {
    {"listen", set_listen},
    {"port", set_port},
    {"lease", set_lease},
    {"join_timeout", set_join_timeout},
    {"drain_timeout", set_drain_timeout},
    {"max_jobs", set_max_jobs},
    {"max_ranks", set_max_ranks},
    {"log", set_log},
};

#define N_SETTINGS (sizeof settings / sizeof settings[0])

static const char help_text[] =
    "Usage: dsmd [option...]\n"
    "Brings the ranks of shared-memory jobs together: numbers them, exchanges their addresses,\n"
    "agrees where the region lies, and tells them when one of them dies.\n"
    "\n"
    "      --config FILE        read settings from FILE; flags win\n"
    "      --listen ADDRESS,... where to listen; default 127.0.0.1\n"
    "      --port N             TCP port; default 7433, 0: any\n"
    "      --lease SECONDS      a rank silent for longer is dead; off: never; default 5\n"
    "      --join-timeout S     how long a job may take to become complete; default: the ranks'\n"
    "      --drain-timeout S    how long SIGTERM lets jobs run on; default 3600\n"
    "      --max-jobs N         default 1024\n"
    "      --max-ranks N        ranks of one job; default 4096\n"
    "      --log LEVEL          error, warn, info or debug; default info\n"
    "      --version            print the version\n"
    "      --help               print this\n"
    "\n"
    "In the file: one NAME = VALUE a line, with the names of the flags and _ for -; lines that\n"
    "begin with # are comments.\n";

/* ---- the file ------------------------------------------------------------------------------ */

struct file_reader {
    struct dsm_daemon_options *options;
    char why[WHY_BYTES + 256];
};

/* inih's handler: 0 is an error, and with it the line number. */
static int on_line(void *user, const char *section, const char *name, const char *value)
{
    struct file_reader *reader = user;
    if (*reader->why)
        return 0; /* the first error is the one that is told */
    if (*section) {
        dsm_format(reader->why, sizeof reader->why, "section [%s]: allowed are none", section);
        return 0;
    }
    for (unsigned i = 0; i < N_SETTINGS; i++) {
        if (strcmp(name, settings[i].name) != 0)
            continue;
        const char *allowed = settings[i].set(reader->options, value);
        if (!allowed)
            return 1;
        dsm_format(reader->why, sizeof reader->why, "%s = %s: allowed are %s", name, value,
                   allowed);
        return 0;
    }
    dsm_format(reader->why, sizeof reader->why,
               "unknown setting %s; allowed are listen, port, lease, join_timeout, drain_timeout, "
               "max_jobs, max_ranks, log",
               name);
    return 0;
}

static int read_file(const char *path, struct dsm_daemon_options *options)
{
    struct file_reader reader = {.options = options};
    FILE *file = fopen(path, "re");
    if (!file) {
        dsm_log(DSM_LOG_ERROR, "%s: %s", path, strerror(errno));
        return -1;
    }
    errno = 0;
    int line = ini_parse_file(file, on_line, &reader);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error)
        dsm_log(DSM_LOG_ERROR, "%s: %s", path, strerror(error));
    else if (line)
        dsm_log(DSM_LOG_ERROR, "%s line %d: %s", path, line,
                *reader.why ? reader.why : "allowed is NAME = VALUE");
    return error || line ? -1 : 0;
}

/* ---- flags --------------------------------------------------------------------------------- */

enum { OPT_CONFIG = 256, OPT_VERSION, OPT_HELP, OPT_SETTING /* and up: settings[i] */ };

static const struct option long_options[] = {
    {"config", required_argument, NULL, OPT_CONFIG},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {"listen", required_argument, NULL, OPT_SETTING},
    {"port", required_argument, NULL, OPT_SETTING + 1},
    {"lease", required_argument, NULL, OPT_SETTING + 2},
    {"join-timeout", required_argument, NULL, OPT_SETTING + 3},
    {"drain-timeout", required_argument, NULL, OPT_SETTING + 4},
    {"max-jobs", required_argument, NULL, OPT_SETTING + 5},
    {"max-ranks", required_argument, NULL, OPT_SETTING + 6},
    {"log", required_argument, NULL, OPT_SETTING + 7},
    {NULL, 0, NULL, 0},
};

static int bad_flag(int option, char **argv)
{
    if (option == ':')
        dsm_log(DSM_LOG_ERROR, "option %s needs a value; dsmd --help lists all", argv[optind - 1]);
    else
        dsm_log(DSM_LOG_ERROR, "unknown option %s; dsmd --help lists all", argv[optind - 1]);
    return -1;
}

/* One pass over the flags: what is asked for first, then the settings. */
static int walk(int argc, char **argv, struct dsm_daemon_options *options, const char **config_out,
                bool takes_settings, enum dsm_daemon_options_result *result)
{
    int option;
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
        if (option == '?' || option == ':')
            return bad_flag(option, argv);
        if (option == OPT_HELP || option == OPT_VERSION) {
            fputs(option == OPT_HELP ? help_text : "dsmd " PACKAGE_VERSION "\n", stdout);
            *result = DSM_DAEMON_OPTIONS_DONE;
            return 0;
        }
        if (option == OPT_CONFIG) {
            *config_out = optarg;
            continue;
        }
        if (!takes_settings)
            continue;
        unsigned i = (unsigned)(option - OPT_SETTING);
        const char *allowed = settings[i].set(options, optarg);
        if (allowed) {
            dsm_log(DSM_LOG_ERROR, "--%s %s: allowed are %s", long_options[i + 3].name, optarg,
                    allowed);
            return -1;
        }
    }
    if (optind < argc) {
        dsm_log(DSM_LOG_ERROR, "unexpected argument %s; dsmd --help lists all", argv[optind]);
        return -1;
    }
    return 0;
}

enum dsm_daemon_options_result dsm_daemon_options_parse(int argc, char **argv,
                                                        struct dsm_daemon_options *options)
{
    const char *config = NULL;
    enum dsm_daemon_options_result result = DSM_DAEMON_OPTIONS_GO;
    *options = (struct dsm_daemon_options){
        .listen = {"127.0.0.1"},
        .n_listen = 1,
        .port = DSM_DAEMON_DEFAULT_PORT,
        .lease_s = 5,
        .drain_timeout_s = 3600,
        .max_jobs = 1024,
        .max_ranks = DSM_CONTROL_MAX_RANKS,
    };
    if (walk(argc, argv, options, &config, false, &result) != 0)
        return DSM_DAEMON_OPTIONS_BAD;
    if (result == DSM_DAEMON_OPTIONS_DONE)
        return result;
    if (config && read_file(config, options) != 0)
        return DSM_DAEMON_OPTIONS_BAD;
    if (walk(argc, argv, options, &config, true, &result) != 0)
        return DSM_DAEMON_OPTIONS_BAD;
    return DSM_DAEMON_OPTIONS_GO;
}
