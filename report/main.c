/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - dsm-report: from the profile of a job to a summary and a page. */
#define _GNU_SOURCE
#include "config.h"
#include "base/log.h"
#include "base/parse.h"
#include "report/report.h"
#include <dsm/dsm.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_TOP 20u
#define MAX_TOP     10000u

struct options {
    const char *html; /* NULL: none */
    size_t n_top;
    bool is_quiet;
};

static const char help_text[] =
    "Usage: dsm-report [option...] profile...\n"
    "Tells where a job waited: of a file of dsmrun --profile, or of the files of DSM_PROFILE.\n"
    "\n"
    "  -o, --output FILE  write a page for a browser as well; - is standard output\n"
    "  -n, --top N        how many units and places in the code to list; default 20\n"
    "  -q, --quiet        no summary in text\n"
    "      --version      print the version\n"
    "      --help         print this\n";

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'}, {"top", required_argument, NULL, 'n'},
    {"quiet", no_argument, NULL, 'q'},        {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
};

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
    int option;
    uint64_t n;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":o:n:q", long_options, NULL)) != -1) {
        switch (option) {
        case 'o':
            o->html = optarg;
            break;
        case 'n':
            if (dsm_parse_u64(optarg, 1, MAX_TOP, &n) != 0) {
                dsm_log(DSM_LOG_ERROR, "--top %s: allowed are 1 to %u", optarg, MAX_TOP);
                return 2;
            }
            o->n_top = (size_t)n;
            break;
        case 'q':
            o->is_quiet = true;
            break;
        case 'V':
            puts("dsm-report " PACKAGE_VERSION);
            return 0;
        case 'h':
            fputs(help_text, stdout);
            return 0;
        case ':':
            dsm_log(DSM_LOG_ERROR, "option %s needs a value; dsm-report --help lists all",
                    argv[optind - 1]);
            return 2;
        default:
            dsm_log(DSM_LOG_ERROR, "unknown option %s; dsm-report --help lists all",
                    argv[optind - 1]);
            return 2;
        }
    }
    if (optind == argc) {
        dsm_log(DSM_LOG_ERROR, "no profile given; usage: dsm-report [option...] profile...");
        return 2;
    }
    return -1;
}

static int load_file(struct report *report, const char *path)
{
    char why[REPORT_WHY_BYTES];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        dsm_log(DSM_LOG_ERROR, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return DSM_E_SYSTEM;
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        dsm_log(DSM_LOG_ERROR, "%s: %s", path,
                S_ISREG(st.st_mode) ? "the file is empty" : "this is no regular file");
        close(fd);
        return DSM_E_INVAL;
    }
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED) {
        dsm_log(DSM_LOG_ERROR, "%s: %s", path, strerror(errno));
        return DSM_E_SYSTEM;
    }
    int error = report_load(report, bytes, (size_t)st.st_size, why);
    munmap(bytes, (size_t)st.st_size);
    if (error)
        dsm_log(DSM_LOG_ERROR, "%s: %s", path, why);
    return error;
}

static int write_html(const struct report *report, const char *title, const struct options *o)
{
    bool is_stdout = strcmp(o->html, "-") == 0;
    FILE *out = is_stdout ? stdout : fopen(o->html, "we");
    bool is_written = out && report_print_html(report, title, o->n_top, out);
    if (out && !is_stdout)
        is_written &= fclose(out) == 0;
    if (!is_written)
        dsm_log(DSM_LOG_ERROR, "%s cannot be written: %s", o->html, strerror(errno));
    return is_written ? 0 : 1;
}

static int run(int n_paths, char **paths, const struct options *o)
{
    static struct report report; /* large */
    int status = 0;
    for (int i = 0; i < n_paths && status == 0; i++)
        if (load_file(&report, paths[i]) != 0)
            status = 2;
    if (status == 0 && !report.ranks) {
        dsm_log(DSM_LOG_ERROR, "%s: no rank has written anything: did they call dsm_init?",
                paths[0]);
        status = 2;
    }
    if (status == 0 && report_analyse(&report) != 0) {
        dsm_log(DSM_LOG_ERROR, "%s: out of memory", paths[0]);
        status = 1;
    }
    if (status == 0) {
        report_name_code(&report, o->n_top);
        if (!o->is_quiet && !report_print_text(&report, paths[0], o->n_top, stdout)) {
            dsm_log(DSM_LOG_ERROR, "standard output cannot be written: %s", strerror(errno));
            status = 1;
        }
        if (o->html && write_html(&report, paths[0], o) != 0)
            status = 1;
    }
    report_free(&report);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = {.n_top = DEFAULT_TOP};
    dsm_log_setup(NULL, "dsm-report");
    int status = parse(argc, argv, &options);
    return status >= 0 ? status : run(argc - optind, argv + optind, &options);
}
