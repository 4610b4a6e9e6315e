/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - what libdsm finds on this machine, and what to do about what it does not. */
#include "config.h"
#include "dsm_info/facts.h"
#include "base/log.h"
#include "net/net.h"
#include "trap/trap.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] = "Usage: dsm_info [--json]\n"
                                "Prints what libdsm finds on this machine: transports and their "
                                "devices, traps, and limits with\n"
                                "what to do about those that are too low.\n"
                                "\n"
                                "      --json     one JSON object\n"
                                "      --version  print the version\n"
                                "      --help     print this\n";

static json_t *list_transports(void)
{
    const struct dsm_net_ops *ops[DSM_NET_MAX_TRANSPORTS];
    char why[512];
    size_t n = 0;
    json_t *list = json_array();
    (void)dsm_net_list(NULL, ops, &n, why, sizeof why); /* no name, so no wrong one */
    for (size_t i = 0; i < n; i++) {
        why[0] = '\0';
        bool is_usable = ops[i]->probe(why, sizeof why) == 0;
        json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "name", ops[i]->name, "usable",
                                              is_usable, "detail", why));
    }
    return list;
}

static json_t *describe_trap(const char *name)
{
    const struct dsm_trap_ops *ops;
    char why[1024] = "";
    bool is_usable = dsm_trap_choose(name, &ops, why, sizeof why) == 0;
    return json_pack("{s:s, s:b, s:s}", "name", name, "usable", is_usable, "detail",
                     is_usable && strcmp(name, "auto") != 0 ? "" : why);
}

static json_t *list_traps(void)
{
    static const char *const names[] = {"sigbus", "uffd", "segv"};
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_array_append_new(list, describe_trap(names[i]));
    return list;
}

/* NULL: out of memory. */
static json_t *gather(void)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version", PACKAGE_VERSION,
                     "machine", dsm_info_machine(), "transports", list_transports(), "rdma_devices",
                     dsm_info_rdma_devices(), "traps", list_traps(), "auto_trap",
                     describe_trap("auto"), "userfaultfd", dsm_info_userfaultfd(), "limits",
                     dsm_info_limits());
}

static int report(bool as_json)
{
    json_t *facts = gather();
    if (!facts) {
        dsm_log(DSM_LOG_ERROR, "out of memory");
        return 1;
    }
    bool is_written = true;
    if (as_json)
        is_written = json_dumpf(facts, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
    else
        dsm_info_print(facts);
    json_decref(facts);
    if (!is_written || fflush(stdout) != 0 || ferror(stdout)) {
        dsm_log(DSM_LOG_ERROR, "cannot write to standard output");
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    bool as_json = false;
    (void)dsm_log_setup(NULL, "dsm_info");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help_text, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--version") == 0) {
            puts("dsm_info " PACKAGE_VERSION);
            return 0;
        }
        if (strcmp(argv[i], "--json") != 0) {
            dsm_log(DSM_LOG_ERROR,
                    "unknown argument '%s'; allowed are --json, --version and --help", argv[i]);
            return 1;
        }
        as_json = true;
    }
    return report(as_json);
}
