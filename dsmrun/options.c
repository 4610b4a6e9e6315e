/* SPDX-License-Identifier: BSD-3-Clause */
/* options.c - see options.h. */
#include "config.h"
#include "dsmrun/options.h"
#include "base/log.h"
#include "base/parse.h"
#include "proto/control.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LEASE_S 5.0

enum {
    OPT_HOST = 256,
    OPT_HOSTFILE,
    OPT_TRAP,
    OPT_TRANSPORT,
    OPT_RDMA_DEVICE,
    OPT_RDMA_PORT,
    OPT_RDMA_GID_INDEX,
    OPT_RDMA_MTU,
    OPT_RDMA_PIN_MAX,
    OPT_REGION_SIZE,
    OPT_BASE,
    OPT_MEM_MAX,
    OPT_STATS,
    OPT_PROFILE,
    OPT_TAG_OUTPUT,
    OPT_LEASE,
    OPT_JOIN_TIMEOUT,
    OPT_LISTEN,
    OPT_SSH,
    OPT_REMOTE_DSMRUN,
    OPT_WDIR,
    OPT_ENV,
    OPT_RANDOMIZE,
    OPT_LOG,
    OPT_SUPERVISE,
    OPT_VERSION,
    OPT_HELP,
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, OPT_HOST},
    {"hostfile", required_argument, NULL, OPT_HOSTFILE},
    {"trap", required_argument, NULL, OPT_TRAP},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"rdma-device", required_argument, NULL, OPT_RDMA_DEVICE},
    {"rdma-port", required_argument, NULL, OPT_RDMA_PORT},
    {"rdma-gid-index", required_argument, NULL, OPT_RDMA_GID_INDEX},
    {"rdma-mtu", required_argument, NULL, OPT_RDMA_MTU},
    {"rdma-pin-max", required_argument, NULL, OPT_RDMA_PIN_MAX},
    {"region-size", required_argument, NULL, OPT_REGION_SIZE},
    {"base", required_argument, NULL, OPT_BASE},
    {"mem-max", required_argument, NULL, OPT_MEM_MAX},
    {"stats", optional_argument, NULL, OPT_STATS},
    {"profile", required_argument, NULL, OPT_PROFILE},
    {"tag-output", no_argument, NULL, OPT_TAG_OUTPUT},
    {"lease", required_argument, NULL, OPT_LEASE},
    {"join-timeout", required_argument, NULL, OPT_JOIN_TIMEOUT},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"ssh", required_argument, NULL, OPT_SSH},
    {"remote-dsmrun", required_argument, NULL, OPT_REMOTE_DSMRUN},
    {"wdir", required_argument, NULL, OPT_WDIR},
    {"env", required_argument, NULL, OPT_ENV},
    {"randomize", no_argument, NULL, OPT_RANDOMIZE},
    {"log", required_argument, NULL, OPT_LOG},
    {"supervise", no_argument, NULL, OPT_SUPERVISE},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "Usage: dsmrun -n N [option...] program [argument...]\n"
    "Starts N ranks of a program that share one memory region.\n"
    "\n"
    "  -n, N                 how many ranks; default: what the hosts offer, else 1\n"
    "      --host A,B:2      run on these hosts, B has room for two ranks\n"
    "      --hostfile FILE   the same, one host a line: NAME [slots=N]\n"
    "      --trap T          auto, sigbus, uffd or segv (DSM_TRAP)\n"
    "      --transport T     auto, tcp or rdma (DSM_TRANSPORT)\n"
    "      --rdma-device D   the RDMA device to use, as dsm_info lists it (DSM_RDMA_DEVICE)\n"
    "      --rdma-port N     its port (DSM_RDMA_PORT)\n"
    "      --rdma-gid-index N  the address of the port (DSM_RDMA_GID_INDEX)\n"
    "      --rdma-mtu N      256, 512, 1024, 2048 or 4096 bytes (DSM_RDMA_MTU)\n"
    "      --rdma-pin-max S  memory that each rank may pin for the card (DSM_RDMA_PIN_MAX)\n"
    "      --region-size S   bytes of address space to share, e.g. 64G (DSM_REGION_SIZE)\n"
    "      --base ADDRESS    where the region starts (DSM_BASE)\n"
    "      --mem-max S       memory for shared pages in each rank (DSM_MEM_MAX)\n"
    "      --stats[=json]    every rank reports its statistics at the end (DSM_STATS)\n"
    "      --profile FILE    record faults and waits of all ranks, for dsm-report(1)\n"
    "      --tag-output      put [rank] before every line\n"
    "      --env NAME[=V]    pass an environment variable to remote ranks as well; -x NAME[=V]\n"
    "      --wdir DIR        working directory of the ranks\n"
    "      --lease SECONDS   a rank silent for longer is dead; off: for debuggers; default 5\n"
    "      --join-timeout S  how long ranks wait for each other at the start (DSM_JOIN_TIMEOUT)\n"
    "      --listen ADDRESS  this host's address for ranks on other hosts\n"
    "      --ssh COMMAND     how to reach a host; default ssh with options that never ask\n"
    "      --remote-dsmrun P where dsmrun is on the other hosts; default: where it is here\n"
    "      --randomize       keep address space randomization in the ranks\n"
    "      --log LEVEL       error, warn, info or debug (DSM_LOG)\n"
    "      --version         print the version\n"
    "      --help            print this\n"
    "\n"
    "The exit status is that of the first rank that fails, 128 + N when signal N killed it.\n"
    "DSM_DAEMON=host:port in the environment makes the job join through that dsmd.\n";

static int add_env(struct dsm_run_options *o, const char *name, const char *value)
{
    char **grown = realloc(o->env, (o->n_env + 1) * sizeof *grown);
    if (!grown)
        return -1;
    o->env = grown;
    if (asprintf(&o->env[o->n_env], "%s=%s", name, value) < 0)
        return -1;
    o->n_env++;
    return 0;
}

/* An option that stands for an environment variable of the library; checked as the library does. */
static int set_size(struct dsm_run_options *o, const char *flag, const char *name,
                    const char *value, uint64_t min, uint64_t max)
{
    uint64_t bytes;
    if (dsm_parse_size(value, &bytes) != 0 || bytes < min || bytes > max) {
        dsm_log(DSM_LOG_ERROR, "--%s %s: allowed is a size from %lu to %lu bytes, e.g. 512M", flag,
                value, min, max);
        return -1;
    }
    return add_env(o, name, value);
}

static int set_number(struct dsm_run_options *o, const char *flag, const char *name,
                      const char *value, uint64_t min, uint64_t max)
{
    uint64_t number;
    if (dsm_parse_u64(value, min, max, &number) != 0) {
        dsm_log(DSM_LOG_ERROR, "--%s %s: allowed is a number from %lu to %lu", flag, value, min,
                max);
        return -1;
    }
    return add_env(o, name, value);
}

static int set_choice(struct dsm_run_options *o, const char *flag, const char *name,
                      const char *value, const char *const *choices)
{
    char list[120] = "";
    size_t used = 0;
    for (; *choices; choices++) {
        if (strcmp(value, *choices) == 0)
            return add_env(o, name, value);
        used += dsm_format(list + used, sizeof list - used, "%s%s", used ? ", " : "", *choices);
    }
    dsm_log(DSM_LOG_ERROR, "--%s %s: allowed are %s", flag, value, list);
    return -1;
}

static int set_seconds(struct dsm_run_options *o, const char *flag, const char *name,
                       const char *value)
{
    double seconds;
    if (dsm_parse_seconds(value, &seconds) != 0 || seconds > 1e6) {
        dsm_log(DSM_LOG_ERROR, "--%s %s: allowed are seconds above 0 and up to 1000000", flag,
                value);
        return -1;
    }
    return add_env(o, name, value);
}

static int set_device(struct dsm_run_options *o, const char *value)
{
    if (!*value) {
        dsm_log(DSM_LOG_ERROR,
                "--rdma-device: allowed is the name of a device; dsm_info lists them");
        return -1;
    }
    return add_env(o, "DSM_RDMA_DEVICE", value);
}

static int set_env(struct dsm_run_options *o, const char *text)
{
    char name[256];
    size_t n = strcspn(text, "=");
    if (n == 0 || n >= sizeof name) {
        dsm_log(DSM_LOG_ERROR, "--env %s: allowed is NAME or NAME=VALUE", text);
        return -1;
    }
    memcpy(name, text, n);
    name[n] = '\0';
    const char *value = text[n] == '=' ? text + n + 1 : getenv(name);
    if (!value) {
        dsm_log(DSM_LOG_ERROR, "--env %s: there is no such variable here", name);
        return -1;
    }
    return add_env(o, name, value);
}

static int set_lease(struct dsm_run_options *o, const char *value)
{
    if (strcmp(value, "off") == 0) {
        o->lease_s = 0;
        return 0;
    }
    if (dsm_parse_seconds(value, &o->lease_s) != 0 || o->lease_s < 0.1 || o->lease_s > 86400) {
        dsm_log(DSM_LOG_ERROR, "--lease %s: allowed are 0.1 to 86400 seconds, or off", value);
        return -1;
    }
    return 0;
}

static int set_base(struct dsm_run_options *o, const char *value)
{
    uint64_t base;
    if (dsm_parse_u64(value, 1, UINT64_MAX, &base) != 0) {
        dsm_log(DSM_LOG_ERROR, "--base %s: allowed is an address, e.g. 0x200000000000", value);
        return -1;
    }
    return add_env(o, "DSM_BASE", value);
}

static int set_n_ranks(struct dsm_run_options *o, const char *value)
{
    uint64_t n;
    if (dsm_parse_u64(value, 1, DSM_CONTROL_MAX_RANKS, &n) != 0) {
        dsm_log(DSM_LOG_ERROR, "-n %s: allowed are 1 to %u ranks", value, DSM_CONTROL_MAX_RANKS);
        return -1;
    }
    o->n_ranks = (uint32_t)n;
    return 0;
}

static int set_log(struct dsm_run_options *o, const char *value)
{
    if (dsm_log_setup(value, NULL) != 0) {
        dsm_log(DSM_LOG_ERROR, "--log %s: allowed are error, warn, info, debug", value);
        return -1;
    }
    return add_env(o, "DSM_LOG", value);
}

static int take(struct dsm_run_options *o, int option, const char *value)
{
    static const char *const traps[] = {"auto", "sigbus", "uffd", "segv", NULL};
    static const char *const transports[] = {"auto", "tcp", "rdma", NULL};
    static const char *const mtus[] = {"256", "512", "1024", "2048", "4096", NULL};
    static const char *const reports[] = {"text", "json", NULL};
    switch (option) {
    case 'n':
        return set_n_ranks(o, value);
    case OPT_HOST:
        o->hosts = value;
        return 0;
    case OPT_HOSTFILE:
        o->hostfile = value;
        return 0;
    case OPT_TRAP:
        return set_choice(o, "trap", "DSM_TRAP", value, traps);
    case OPT_TRANSPORT:
        return set_choice(o, "transport", "DSM_TRANSPORT", value, transports);
    case OPT_RDMA_DEVICE:
        return set_device(o, value);
    case OPT_RDMA_PORT:
        return set_number(o, "rdma-port", "DSM_RDMA_PORT", value, 1, 255);
    case OPT_RDMA_GID_INDEX:
        return set_number(o, "rdma-gid-index", "DSM_RDMA_GID_INDEX", value, 0, 65535);
    case OPT_RDMA_MTU:
        return set_choice(o, "rdma-mtu", "DSM_RDMA_MTU", value, mtus);
    case OPT_RDMA_PIN_MAX:
        return set_size(o, "rdma-pin-max", "DSM_RDMA_PIN_MAX", value, 0, UINT64_MAX);
    case OPT_REGION_SIZE:
        return set_size(o, "region-size", "DSM_REGION_SIZE", value, DSM_CONTROL_MIN_REGION,
                        DSM_CONTROL_MAX_REGION);
    case OPT_BASE:
        return set_base(o, value);
    case OPT_MEM_MAX:
        return set_size(o, "mem-max", "DSM_MEM_MAX", value, 1u << 20, UINT64_MAX);
    case OPT_STATS:
        return set_choice(o, "stats", "DSM_STATS", value ? value : "text", reports);
    case OPT_PROFILE:
        o->profile = value;
        return 0;
    case OPT_TAG_OUTPUT:
        o->tag_output = true;
        return 0;
    case OPT_LEASE:
        return set_lease(o, value);
    case OPT_JOIN_TIMEOUT:
        return set_seconds(o, "join-timeout", "DSM_JOIN_TIMEOUT", value);
    case OPT_LISTEN:
        o->listen = value;
        return 0;
    case OPT_SSH:
        o->ssh = value;
        return 0;
    case OPT_REMOTE_DSMRUN:
        o->remote_dsmrun = value;
        return 0;
    case OPT_WDIR:
        o->dir = value;
        return 0;
    case 'x':
    case OPT_ENV:
        return set_env(o, value);
    case OPT_RANDOMIZE:
        o->keep_randomization = true;
        return 0;
    case OPT_LOG:
        return set_log(o, value);
    case OPT_SUPERVISE:
        o->supervise = true;
        return 0;
    }
    return -1;
}

/* getopt's own messages go through its stderr text; ours are one line of one form. */
static void log_bad_option(char **argv, int option)
{
    const char *given = argv[optind - 1];
    if (option == ':')
        dsm_log(DSM_LOG_ERROR, "option %s needs a value; dsmrun --help lists all", given);
    else if (optopt > 0 && optopt < 256)
        dsm_log(DSM_LOG_ERROR, "unknown option -%c; dsmrun --help lists all", optopt);
    else
        dsm_log(DSM_LOG_ERROR, "unknown option %s; dsmrun --help lists all", given);
}

enum dsm_run_options_result dsm_run_options_parse(int argc, char **argv, struct dsm_run_options *o)
{
    *o = (struct dsm_run_options){.lease_s = DEFAULT_LEASE_S};
    int option;
    opterr = 0;
    /* '+': the first word that is no option is the program; the rest is the program's. */
    while ((option = getopt_long(argc, argv, "+:n:x:", long_options, NULL)) != -1) {
        if (option == OPT_HELP) {
            fputs(help_text, stdout);
            return DSM_RUN_OPTIONS_DONE;
        }
        if (option == OPT_VERSION) {
            puts("dsmrun " PACKAGE_VERSION);
            return DSM_RUN_OPTIONS_DONE;
        }
        if (option == '?' || option == ':') {
            log_bad_option(argv, option);
            return DSM_RUN_OPTIONS_BAD;
        }
        if (take(o, option, optarg) != 0)
            return DSM_RUN_OPTIONS_BAD;
    }
    if (o->hosts && o->hostfile) {
        dsm_log(DSM_LOG_ERROR, "--host and --hostfile: allowed is one of the two");
        return DSM_RUN_OPTIONS_BAD;
    }
    o->args = argv + optind;
    if (!o->supervise && optind == argc) {
        dsm_log(DSM_LOG_ERROR, "no program given; usage: dsmrun -n N program [argument...]");
        return DSM_RUN_OPTIONS_BAD;
    }
    return DSM_RUN_OPTIONS_GO;
}

void dsm_run_options_free(struct dsm_run_options *o)
{
    for (size_t i = 0; i < o->n_env; i++)
        free(o->env[i]);
    free(o->env);
}
