/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_sync_test.c - locks and synchronisation objects in the simulated job: who gets in, in which
 * order, how often, and that nobody is forgotten. */
#include <check.h>
#include <dsm/dsm.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/world.h"

static uint64_t first_seed = 1, n_runs = 40;

static void run_to_the_end(struct sim_world *w)
{
    if (!sim_run(w, UINT64_MAX))
        ck_abort_msg("%s", sim_error(w));
    sim_close(w);
}

static void ask(struct sim_op *op, enum dsm_sync_kind kind, enum dsm_sync_op what, uint64_t a)
{
    op->kind = SIM_OP_SYNC;
    op->sync_kind = kind;
    op->sync_op = what;
    op->a = a;
}

/* ---- one lock, eight threads on four ranks */

#define N_CONTENDERS   8u
#define N_ACQUISITIONS 10000u

struct contest {
    uint32_t n_started, n_counted;
    uint32_t counts[N_CONTENDERS];
};
struct contender {
    struct contest *contest;
    uint32_t number;
    bool has_started;
};

/* Counted once everybody has had it: before that some had nobody to contend with. */
static void contend(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    struct contender *c = sim_thread_user(t);
    struct contest *contest = c->contest;

    (void)w;
    op->id = 3;
    if (sim_thread_ops_done(t) % 2) { /* holds it */
        contest->n_started += !c->has_started;
        c->has_started = true;
        if (contest->n_started == N_CONTENDERS && contest->n_counted < N_ACQUISITIONS) {
            contest->counts[c->number]++;
            contest->n_counted++;
        }
        op->kind = SIM_OP_UNLOCK;
    } else if (contest->n_counted < N_ACQUISITIONS) {
        op->kind = SIM_OP_LOCK;
    }
}

START_TEST(one_lock_is_shared_fairly_by_8_threads_on_4_ranks)
{
    uint64_t seed;

    for (seed = first_seed; seed < first_seed + (n_runs + 9) / 10; seed++) {
        struct contest contest = {0};
        struct contender contenders[N_CONTENDERS];
        uint32_t i, least = UINT32_MAX, most = 0;
        struct sim_config config;
        struct sim_world *w;

        sim_config_init(&config, 4, 8, seed);
        config.think = (struct sim_delay){10, 500}; /* much quicker than any message */
        w = sim_open(&config);
        for (i = 0; i < N_CONTENDERS; i++) {
            contenders[i] = (struct contender){&contest, i, false};
            sim_thread_add(w, i % 4, contend, &contenders[i]);
        }
        run_to_the_end(w);
        for (i = 0; i < N_CONTENDERS; i++) {
            least = contest.counts[i] < least ? contest.counts[i] : least;
            most = contest.counts[i] > most ? contest.counts[i] : most;
        }
        ck_assert_uint_eq(contest.n_counted, N_ACQUISITIONS);
        ck_assert_msg(most <= 2 * least, "seed %lu: luckiest %u, unluckiest %u",
                      (unsigned long)seed, most, least);
    }
}
END_TEST

/* ---- objects, in random order and with waits that are given up */

struct mix {
    uint32_t n_readers, n_writers;
    uint64_t n_posted, n_taken, n_ops;
    uint64_t n_takes, n_given_up;
};

static void check_holds(const struct mix *mix)
{
    ck_assert(mix->n_writers <= 1 && (mix->n_writers == 0 || mix->n_readers == 0));
}

/* What the operation just ended has done: in rounds of lock, unlock, post, take. */
static void note(struct mix *mix, const struct sim_thread *t, uint64_t done)
{
    bool is_write = (done / 4 + sim_thread_rank(t)) % 3 == 0;

    switch (done % 4) {
    case 1:
        ck_assert_int_eq(sim_thread_error(t), 0);
        mix->n_writers += is_write;
        mix->n_readers += !is_write;
        check_holds(mix);
        return;
    case 0: /* after the take */
        if (done == 0)
            return;
        mix->n_takes += sim_thread_error(t) == 0;
        mix->n_taken += sim_thread_error(t) == 0 ? 1 + (done / 4 - 1) % 2 : 0;
        mix->n_given_up += sim_thread_error(t) == DSM_E_TIMEOUT;
        ck_assert_uint_le(mix->n_taken, mix->n_posted);
        return;
    default:
        return;
    }
}

static void use_objects(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    struct mix *mix = sim_thread_user(t);
    uint64_t done = sim_thread_ops_done(t);
    bool is_write = (done / 4 + sim_thread_rank(t)) % 3 == 0;

    note(mix, t, done);
    if (done >= mix->n_ops)
        return;
    switch (done % 4) {
    case 0:
        op->id = 8;
        ask(op, DSM_SYNC_RWLOCK, is_write ? DSM_SYNC_OP_WRITE_LOCK : DSM_SYNC_OP_READ_LOCK, 0);
        return;
    case 1:
        op->id = 8;
        mix->n_writers -= is_write;
        mix->n_readers -= !is_write;
        ask(op, DSM_SYNC_RWLOCK, is_write ? DSM_SYNC_OP_WRITE_UNLOCK : DSM_SYNC_OP_READ_UNLOCK, 0);
        return;
    case 2:
        op->id = 4096 + 8;
        mix->n_posted++;
        ask(op, DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_ADD, 1);
        return;
    default:
        op->id = 4096 + 8;
        op->patience_ns = 1 + *sim_rng(w) % 4000;
        *sim_rng(w) = *sim_rng(w) * 6364136223846793005ull + 1442695040888963407ull;
        ask(op, DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_TAKE, 1 + done / 4 % 2); /* more than is posted */
        return;
    }
}

START_TEST(objects_exclude_and_count)
{
    uint64_t seed, n_given_up = 0;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct mix mix = {.n_ops = 120};
        struct sim_world *w;
        uint32_t i;

        sim_config_init(&config, (uint32_t)(1 + seed % 6), 64, seed);
        w = sim_open(&config);
        for (i = 0; i < 3 * config.n_ranks; i++)
            sim_thread_add(w, i % config.n_ranks, use_objects, &mix);
        run_to_the_end(w);
        ck_assert_uint_eq(mix.n_takes + mix.n_given_up, 3 * config.n_ranks * mix.n_ops / 4);
        n_given_up += mix.n_given_up;
    }
    if (n_runs > 10)
        ck_assert_uint_gt(n_given_up, 0); /* or the waits that end early have not been tried */
}
END_TEST

/* ---- a writer among readers that never pause */

struct library {
    uint32_t n_reads_before_writer, n_readers;
    bool writer_waits, writer_was_in;
};

static void read_on(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    struct library *library = sim_thread_user(t);

    (void)w;
    op->id = 8;
    if (sim_thread_ops_done(t) % 2 == 0) {
        if (!library->writer_was_in)
            ask(op, DSM_SYNC_RWLOCK, DSM_SYNC_OP_READ_LOCK, 0);
        return;
    }
    library->n_reads_before_writer += library->writer_waits && !library->writer_was_in;
    ask(op, DSM_SYNC_RWLOCK, DSM_SYNC_OP_READ_UNLOCK, 0);
}

static void write_once(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    struct library *library = sim_thread_user(t);

    (void)w;
    op->id = 8;
    switch (sim_thread_ops_done(t)) {
    case 0:
        library->writer_waits = true;
        ask(op, DSM_SYNC_RWLOCK, DSM_SYNC_OP_WRITE_LOCK, 0);
        return;
    case 1:
        library->writer_was_in = true;
        ask(op, DSM_SYNC_RWLOCK, DSM_SYNC_OP_WRITE_UNLOCK, 0);
        return;
    default:
        return;
    }
}

START_TEST(readers_that_never_pause_let_a_writer_in)
{
    uint64_t seed;

    for (seed = first_seed; seed < first_seed + n_runs; seed++) {
        struct sim_config config;
        struct library library = {.n_readers = 9};
        struct sim_world *w;
        uint32_t i;

        sim_config_init(&config, 3, 64, seed);
        w = sim_open(&config);
        for (i = 0; i < library.n_readers; i++)
            sim_thread_add(w, i % 3, read_on, &library);
        sim_thread_add(w, 1, write_once, &library);
        run_to_the_end(w);
        ck_assert(library.writer_was_in);
        /* Those that came first, and those whose question was quicker than the writer's: a
         * message takes a few times as long as a read at most. */
        ck_assert_uint_lt(library.n_reads_before_writer, 40 * library.n_readers);
    }
}
END_TEST

/* ---- more waits end at once than answers fit into a step */

struct meeting {
    uint64_t n_threads, n_arrived, n_rounds;
};

static void meet(struct sim_world *w, struct sim_thread *t, struct sim_op *op)
{
    struct meeting *meeting = sim_thread_user(t);
    uint64_t done = sim_thread_ops_done(t);

    (void)w;
    ck_assert_uint_ge(meeting->n_arrived, done * meeting->n_threads);
    if (done == meeting->n_rounds)
        return;
    meeting->n_arrived++;
    op->id = 24;
    ask(op, DSM_SYNC_BARRIER, DSM_SYNC_OP_ARRIVE, meeting->n_threads);
}

START_TEST(a_barrier_of_1000_threads_lets_all_go)
{
    struct sim_config config;
    struct meeting meeting = {.n_threads = 1000, .n_rounds = 3};
    struct sim_world *w;
    uint32_t i;

    sim_config_init(&config, 3, 64, first_seed);
    config.is_unchecked = true;
    w = sim_open(&config);
    for (i = 0; i < meeting.n_threads; i++)
        sim_thread_add(w, i % 3, meet, &meeting);
    run_to_the_end(w);
    ck_assert_uint_eq(meeting.n_arrived, meeting.n_threads * meeting.n_rounds);
}
END_TEST

/* ---- errors */

static struct sim_op object_op(enum dsm_sync_kind kind, enum dsm_sync_op what, uint64_t a)
{
    struct sim_op op = {.id = 8};

    ask(&op, kind, what, a);
    return op;
}

static struct sim_thread *one(struct sim_world *w, dsm_rank_t rank, const struct sim_op *op)
{
    struct sim_thread *t = sim_play(w, rank, op, 1);

    sim_allow_waiting(w);
    if (!sim_run(w, sim_now_ns(w) + 10000000))
        ck_abort_msg("%s", sim_error(w));
    return t;
}

START_TEST(an_object_is_of_one_kind_and_ends_with_its_waits)
{
    struct sim_config config;
    struct sim_op post = object_op(DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_ADD, 1);
    struct sim_op too_many = object_op(DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_ADD, DSM_SYNC_MAX);
    struct sim_op take_two = object_op(DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_TAKE, 2);
    struct sim_op flag = object_op(DSM_SYNC_FLAG, DSM_SYNC_OP_SET, 1);
    struct sim_op destroy = object_op(DSM_SYNC_NONE, DSM_SYNC_OP_DESTROY, 0);
    struct sim_thread *waiting;
    struct sim_world *w;

    sim_config_init(&config, 3, 64, 1);
    w = sim_open(&config);
    ck_assert_int_eq(sim_thread_error(one(w, 1, &post)), 0);
    ck_assert_int_eq(sim_thread_error(one(w, 2, &flag)), DSM_E_KIND);
    ck_assert_int_eq(sim_thread_error(one(w, 2, &too_many)), DSM_E_LIMIT);
    waiting = one(w, 2, &take_two);
    ck_assert(sim_is_waiting(waiting));
    ck_assert_uint_eq(sim_thread_value(one(w, 1, &destroy)), 1);
    ck_assert_int_eq(sim_thread_error(waiting), DSM_E_GONE);
    ck_assert_int_eq(sim_thread_error(one(w, 2, &flag)), 0);
    sim_close(w);
}
END_TEST

START_TEST(memory_that_is_freed_takes_its_objects_along)
{
    struct sim_config config;
    struct sim_op take = object_op(DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_TAKE, 1);
    struct sim_op elsewhere = take;
    struct sim_thread *waiting, *other;
    struct sim_world *w;

    elsewhere.id += 17 * (uint64_t)DSM_PAGE_BYTES;
    sim_config_init(&config, 3, 64, 1);
    w = sim_open(&config);
    waiting = one(w, 2, &take);
    other = one(w, 2, &elsewhere);
    sim_drop(w, 0, 0, 4, 1);
    ck_assert(sim_run(w, sim_now_ns(w) + 10000000));
    ck_assert_int_eq(sim_thread_error(waiting), DSM_E_GONE);
    ck_assert(sim_is_waiting(other));
    sim_close(w);
}
END_TEST

START_TEST(a_lost_rank_ends_waits_and_what_it_held_for_writing)
{
    struct sim_config config;
    struct sim_op write = object_op(DSM_SYNC_RWLOCK, DSM_SYNC_OP_WRITE_LOCK, 0);
    struct sim_op read = object_op(DSM_SYNC_RWLOCK, DSM_SYNC_OP_READ_LOCK, 0);
    struct sim_op take = object_op(DSM_SYNC_SEMAPHORE, DSM_SYNC_OP_TAKE, 1);
    struct sim_op arrive = object_op(DSM_SYNC_BARRIER, DSM_SYNC_OP_ARRIVE, 3);
    struct sim_op destroy = object_op(DSM_SYNC_NONE, DSM_SYNC_OP_DESTROY, 0);
    struct sim_thread *reader, *taker, *at_barrier;
    struct sim_world *w;

    take.id = 16;
    arrive.id = 24;
    sim_config_init(&config, 3, 64, 1);
    w = sim_open(&config);
    ck_assert_int_eq(sim_thread_error(one(w, 2, &write)), 0);
    reader = one(w, 1, &read);
    taker = one(w, 1, &take);
    at_barrier = one(w, 1, &arrive);
    ck_assert(sim_is_waiting(reader) && sim_is_waiting(taker) && sim_is_waiting(at_barrier));
    sim_kill(w, 2);
    ck_assert(sim_run(w, sim_now_ns(w) + 10000000));
    ck_assert_int_eq(sim_thread_error(reader), DSM_E_PEER);
    ck_assert_int_eq(sim_thread_error(taker), DSM_E_PEER);
    ck_assert_int_eq(sim_thread_error(at_barrier), DSM_E_PEER);
    /* For good, but for what only counts what survivors do. */
    ck_assert_int_eq(sim_thread_error(one(w, 0, &read)), DSM_E_PEER);
    ck_assert_int_eq(sim_thread_error(one(w, 0, &arrive)), DSM_E_PEER);
    ck_assert(sim_is_waiting(one(w, 0, &take)));
    destroy.id = arrive.id;
    (void)one(w, 0, &destroy);
    ck_assert(sim_is_waiting(one(w, 0, &arrive)));
    sim_close(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulated job, synchronisation");
    TCase *tc = tcase_create("sync");
    SRunner *runner;
    int failed;

    if (getenv("DSM_TEST_SEED")) {
        first_seed = strtoull(getenv("DSM_TEST_SEED"), NULL, 0);
        n_runs = 1;
    }
    if (getenv("DSM_TEST_RUNS"))
        n_runs = strtoull(getenv("DSM_TEST_RUNS"), NULL, 0);
    printf("seeds %lu to %lu; DSM_TEST_SEED=N replays one\n", (unsigned long)first_seed,
           (unsigned long)(first_seed + n_runs - 1));
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, one_lock_is_shared_fairly_by_8_threads_on_4_ranks);
    tcase_add_test(tc, objects_exclude_and_count);
    tcase_add_test(tc, readers_that_never_pause_let_a_writer_in);
    tcase_add_test(tc, a_barrier_of_1000_threads_lets_all_go);
    tcase_add_test(tc, an_object_is_of_one_kind_and_ends_with_its_waits);
    tcase_add_test(tc, memory_that_is_freed_takes_its_objects_along);
    tcase_add_test(tc, a_lost_rank_ends_waits_and_what_it_held_for_writing);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
