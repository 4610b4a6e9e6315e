/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * program.c - the life of a PARMACS program: who runs main, who waits, CREATE, and the end.
 *
 *     START --MAIN_INITENV--> RUNNING --exit of rank 0--> OVER
 *       \________________________________________________/
 *
 * All ranks join before main, so that only rank 0 reads arguments and input, and prints. The others
 * wait for its word: in a collective until it has come to MAIN_INITENV or to its end, then for work
 * (runtime/work.h).
 */
#define _GNU_SOURCE
#include "parmacs/program.h"
#include "base/log.h"
#include "base/parse.h"
#include "parmacs/image.h"
#include "parmacs/workers.h"
#include "runtime/api.h"
#include "runtime/collective.h"
#include "runtime/globals.h"
#include "runtime/runtime.h"
#include "runtime/work.h"
#include <dsm/dsm.h>
#include <dsm/parmacs.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS_MAX_DEFAULT 1024
#define WORKERS_MAX_LIMIT   65536

enum phase { ABSENT, START, RUNNING, OVER };

/* What rank 0 says to the ranks that wait before MAIN_INITENV. */
struct command {
    bool is_end;
    uint64_t next_pid; /* address of the word that deals process ids */
};

/* The program is one to a process, like the runtime under it. */
static struct {
    enum phase phase;
    bool is_private; /* each worker has its own copy of the globals */
    uint32_t workers_max;
    pid_t pid;
    struct dsm_executable executable;
    uint32_t *next_pid;
    /* Rank 0's main thread alone: */
    uint32_t n_running; /* workers that have not ended */
    uint32_t n_ended;   /* that have, and were not waited for */
    uint32_t next_rank;
    bool *has_worker; /* by rank, with private globals */
    bool has_team;    /* since WAIT_FOR_END last found all ended */
} program;

void dsm_program_fail(const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    dsm_vformat(why, sizeof why, format, args);
    va_end(args);
    dsm_runtime_fail(1, why);
}

uint32_t *dsm_program_next_pid(void)
{
    return program.next_pid;
}

static void agree_or_exit(struct dsm_driver *d, int error, const char *why);

/* The program's own main() runs on every rank. All join, so that the job ends with one line. */
static _Noreturn void refuse_unlinked(const char *macro)
{
    char why[192];
    dsm_format(why, sizeof why,
               "%s: this program was not linked as one with workers: build it with dsmcc, and the "
               "file of main() with MAIN_ENV",
               macro);
    if (dsm_api_driver() || dsm_runtime_init(NULL, 0) == 0)
        agree_or_exit(dsm_api_driver(), DSM_E_STATE, why);
    _exit(1);
}

struct dsm_driver *dsm_program_enter(const char *macro)
{
    struct dsm_driver *d = program.phase == RUNNING ? dsm_api_driver() : NULL;
    if (d)
        return d;
    if (program.phase != ABSENT)
        dsm_program_fail("%s was used %s", macro,
                         program.phase == START    ? "before MAIN_INITENV"
                         : program.pid != getpid() ? "in a child of fork, which is no worker"
                                                   : "after the end of the program");
    refuse_unlinked(macro);
}

void dsm_program_enter_early(const char *macro)
{
    if (program.phase != START)
        (void)dsm_program_enter(macro);
}

/* ---- start --------------------------------------------------------------------------------- */

static int read_settings(unsigned flags, char *why, size_t why_bytes)
{
    const char *text = getenv("DSM_GLOBALS");
    uint64_t limit = WORKERS_MAX_DEFAULT;
    program.is_private = flags & DSM_PROGRAM_PRIVATE;
    if (text && *text) {
        if (strcmp(text, "shared") != 0 && strcmp(text, "private") != 0) {
            dsm_format(why, why_bytes, "DSM_GLOBALS=%s: allowed is shared or private", text);
            return DSM_E_INVAL;
        }
        program.is_private = strcmp(text, "private") == 0;
    }
    text = getenv("DSM_WORKERS_MAX");
    if (text && *text && dsm_parse_u64(text, 1, WORKERS_MAX_LIMIT, &limit)) {
        dsm_format(why, why_bytes, "DSM_WORKERS_MAX=%s: allowed is a number from 1 to %d", text,
                   WORKERS_MAX_LIMIT);
        return DSM_E_INVAL;
    }
    program.workers_max = (uint32_t)limit;
    text = getenv("DSM_ON_LOSS");
    if (text && strcmp(text, "continue") == 0) {
        dsm_format(
            why, why_bytes,
            "DSM_ON_LOSS=continue: a worker that is lost cannot be replaced: allowed is abort");
        /* This rank is about to end: the others, which say the same, do not go on without it. */
        setenv("DSM_ON_LOSS", "abort", 1);
        return DSM_E_INVAL;
    }
    return 0;
}

/* Instrumentation keeps its state among the program's variables. */
static int check_instruments(unsigned flags, char *why, size_t why_bytes)
{
    static const struct {
        unsigned flag;
        const char *name;
    } instruments[] = {{DSM_PROGRAM_ASAN, "-fsanitize=address"},
                       {DSM_PROGRAM_TSAN, "-fsanitize=thread"},
                       {DSM_PROGRAM_MSAN, "-fsanitize=memory"},
                       {DSM_PROGRAM_GCOV, "--coverage"},
                       {DSM_PROGRAM_PROFILE, "-fprofile-instr-generate"}};
    for (unsigned i = 0; !program.is_private && i < sizeof instruments / sizeof *instruments; i++) {
        if (!(flags & instruments[i].flag))
            continue;
        dsm_format(why, why_bytes,
                   "global variables cannot be shared: the program was built with %s, whose own "
                   "data would be among them",
                   instruments[i].name);
        return DSM_E_UNSUPPORTED;
    }
    return 0;
}

/* Ends the job when any rank has an error, with one line: rank 0's, or else of those that have one.
 * Collective. */
static void agree_or_exit(struct dsm_driver *d, int error, const char *why)
{
    int32_t first = error, worst = error;
    if (dsm_collective_bcast(d, &first, sizeof first, 0) ||
        dsm_collective_allreduce(d, &worst, 1, DSM_INT32, DSM_MIN))
        _exit(1); /* was printed */
    if (!worst)
        return;
    if (error && (d->config.self == 0 || !first))
        dsm_runtime_fail(1, why);
    (void)dsm_collective_barrier(d); /* until that ends this rank too */
    _exit(1);
}

static void on_end(int status, void *unused);

static void start(unsigned flags)
{
    char why[512] = "";
    int error = read_settings(flags, why, sizeof why);
    if (!error)
        error = check_instruments(flags, why, sizeof why);
    if (!error)
        error = dsm_executable_read(&program.executable, why, sizeof why);
    bool shares = !error && !program.is_private;
    if (dsm_runtime_init(NULL, shares ? program.executable.data_bytes : 0))
        exit(1); /* was printed */
    struct dsm_driver *d = dsm_api_driver();
    agree_or_exit(d, error, why);
    agree_or_exit(d, dsm_globals_compare(d, &program.executable, why, sizeof why), why);
    program.has_worker = calloc(d->config.n_ranks, sizeof *program.has_worker);
    if (!program.has_worker || dsm_work_open(d, program.workers_max))
        dsm_program_fail("no memory for a queue of %u workers", program.workers_max);
    program.pid = getpid();
    program.next_rank = 1;
    program.phase = START;
    on_exit(on_end, NULL);
    if (d->config.n_ranks > 1)
        setvbuf(stdout, NULL, _IOLBF, 0);
}

/* On every rank, when rank 0 has come to MAIN_INITENV. */
static void begin(struct dsm_driver *d, const struct command *command)
{
    program.next_pid = (uint32_t *)(uintptr_t)command->next_pid;
    int error = program.is_private ? 0 : dsm_globals_share(d, &program.executable);
    if (error)
        dsm_program_fail("the %lu bytes of global variables at 0x%lx cannot be shared: %s",
                         (unsigned long)program.executable.data_bytes,
                         (unsigned long)program.executable.data_addr, dsm_strerror(error));
    program.phase = RUNNING;
}

void dsm_parmacs_initenv(void)
{
    if (program.phase == RUNNING)
        return;
    if (program.phase != START)
        (void)dsm_program_enter("MAIN_INITENV");
    struct dsm_driver *d = dsm_api_driver();
    struct command command = {.next_pid = (uint64_t)(uintptr_t)dsm_calloc(1, sizeof(uint32_t))};
    if (!command.next_pid)
        dsm_program_fail("MAIN_INITENV: the region has no room");
    if (dsm_collective_bcast(d, &command, sizeof command, 0))
        dsm_program_fail("MAIN_INITENV: the other ranks do not answer");
    begin(d, &command);
}

/* ---- other ranks than 0 -------------------------------------------------------------------- */

static void run_for_rank_0(struct dsm_driver *d, const struct dsm_work_item *item)
{
    if (item->image)
        dsm_image_put(&program.executable, (void *)(uintptr_t)item->image);
    int error = dsm_workers_start(d, item->addr);
    if (error)
        dsm_program_fail("CREATE: rank %u cannot start a thread for a worker: %s", d->config.self,
                         strerror(error));
}

static void serve(struct dsm_driver *d)
{
    struct command command = {.is_end = true};
    struct dsm_work_item item = {.kind = DSM_WORK_OVER};
    if (dsm_collective_bcast(d, &command, sizeof command, 0))
        _exit(1); /* was printed */
    if (command.is_end)
        return;
    begin(d, &command);
    for (;;) {
        dsm_work_take(d, &item);
        if (item.kind == DSM_WORK_OVER)
            break;
        run_for_rank_0(d, &item);
    }
    dsm_workers_join();
}

int dsm_program_run(unsigned flags, int argc, char **argv, char **envp, dsm_main_function *main)
{
    if (!(flags & DSM_PROGRAM_PARMACS))
        return main(argc, argv, envp);
    start(flags);
    struct dsm_driver *d = dsm_api_driver();
    if (d->config.self == 0)
        return main(argc, argv, envp);
    serve(d);
    exit(0);
}

/* ---- CREATE and WAIT_FOR_END --------------------------------------------------------------- */

static struct dsm_driver *enter_as_main(const char *macro)
{
    struct dsm_driver *d = dsm_program_enter(macro);
    if (d->config.self != 0 || dsm_workers_is_worker())
        dsm_program_fail("%s was used by a worker: it is for the process that runs main()", macro);
    return d;
}

static void count_end(dsm_rank_t rank)
{
    program.n_running--;
    program.n_ended++;
    program.has_worker[rank] = false;
}

/* The next in turn. With private globals one without a worker, if there is one: main() has the copy
 * of rank 0, and a worker that runs still has its own. */
static dsm_rank_t next_rank(struct dsm_driver *d)
{
    dsm_rank_t n = d->config.n_ranks, rank = program.next_rank % n;
    for (uint32_t i = 0; program.is_private && i < n; i++) {
        if (rank != 0 && !program.has_worker[rank])
            break;
        rank = (rank + 1) % n;
    }
    program.next_rank = rank + 1;
    return rank;
}

static void create(struct dsm_driver *d, void (*function)(void), dsm_rank_t rank)
{
    struct dsm_work_item item = {.kind = DSM_WORK_RUN, .addr = (uint64_t)(uintptr_t)function};
    if (!function)
        dsm_program_fail("CREATE: there is no function to run: NULL");
    if (program.n_running >= program.workers_max)
        dsm_program_fail(
            "CREATE: %u workers run already, and no more are allowed (DSM_WORKERS_MAX)",
            program.n_running);
    if (program.is_private) {
        if (program.n_running >= d->config.n_ranks - 1)
            dsm_program_fail("CREATE: with private globals each rank has room for one worker: %u "
                             "ranks, main() and %u workers already",
                             d->config.n_ranks, program.n_running);
        item.image = (uint64_t)(uintptr_t)dsm_image_take(&program.executable);
        if (!item.image)
            dsm_program_fail("CREATE: the region has no room for a copy of %lu bytes of globals",
                             (unsigned long)program.executable.data_bytes);
    }
    program.n_running++;
    program.has_worker[rank] = true;
    if (rank == 0)
        run_for_rank_0(d, &item);
    else
        dsm_work_send(d, rank, &item);
}

void dsm_parmacs_create(void (*function)(void))
{
    struct dsm_driver *d = enter_as_main("CREATE");
    create(d, function, next_rank(d));
}

void dsm_parmacs_create_team(void (*function)(void), long n)
{
    struct dsm_driver *d = enter_as_main("CREATE");
    program.has_team = true;
    for (long i = 1; i < n; i++)
        create(d, function,
               program.is_private ? next_rank(d) : (dsm_rank_t)(i % d->config.n_ranks));
    function();
}

static void take_end(struct dsm_driver *d)
{
    struct dsm_work_item item;
    dsm_work_take(d, &item);
    if (item.kind == DSM_WORK_ENDED)
        count_end(item.from);
}

void dsm_parmacs_wait_for_end(long n)
{
    struct dsm_driver *d = enter_as_main("WAIT_FOR_END");
    while (program.n_running > 0 && (program.has_team || (long)program.n_ended < n))
        take_end(d);
    program.n_ended -= (long)program.n_ended < n ? program.n_ended : (uint32_t)n;
    if (program.n_running > 0)
        return;
    /* A round is over. */
    program.n_ended = 0;
    program.has_team = false;
    program.next_rank = 1;
    dsm_workers_join();
    if (*program.next_pid)
        *program.next_pid = 0;
    dsm_program_forget_pid();
}

/* ---- the end ------------------------------------------------------------------------------- */

static void end_rank_0(struct dsm_driver *d, int status)
{
    static const struct command end = {.is_end = true};
    struct command command = end;
    struct dsm_work_item over = {.kind = DSM_WORK_OVER};
    if (program.phase == START) {
        (void)dsm_collective_bcast(d, &command, sizeof command, 0);
        return;
    }
    if (status != 0 && program.n_running > 0) {
        char why[80];
        fflush(NULL);
        dsm_format(why, sizeof why, "main() ended with status %d while %u workers ran", status,
                   program.n_running);
        dsm_runtime_fail(status, why);
    }
    while (program.n_running > 0)
        take_end(d);
    dsm_workers_join();
    for (dsm_rank_t rank = 1; rank < d->config.n_ranks; rank++)
        dsm_work_send(d, rank, &over);
}

/* At exit, before the handlers that were registered before main. */
static void on_end(int status, void *unused)
{
    struct dsm_driver *d = dsm_api_driver();
    (void)unused;
    if (program.pid != getpid() || !d || program.phase == OVER)
        return;
    if (dsm_workers_is_worker())
        dsm_program_fail("a worker on rank %u called exit(%d)", d->config.self, status);
    if (d->config.self == 0)
        end_rank_0(d, status);
    program.phase = OVER;
    (void)dsm_finalize();
}

void dsm_parmacs_end(void)
{
    (void)enter_as_main("MAIN_END");
    exit(0);
}
