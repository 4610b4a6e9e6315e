/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * member_sim_test.c - dsmd's decisions under a hostile network: ranks that join late, twice or with
 * the wrong numbers, die, stall, leave and abort; messages and closed connections that take their
 * time; a daemon that does not run for a while. Virtual time, seeded.
 *
 * After every step: nothing is said to a connection that hung up or was hung up on; what is said
 * fits what was said before. At the end of every run: the job is over; everybody who could hear has
 * heard of every death, and of nothing else.
 *
 *   DSM_TEST_SEED=N   replays one run
 */
#include "base/clock.h"
#include "base/rng.h"
#include "dsmd/member.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_RUNS       20000u
#define FIRST_SEED   20260700u
#define MAX_RANKS    8u
#define MAX_CONNS    24u
#define LEASE_MS     5000u
#define BEAT_MS      1000u
#define GRACE_MS     200u
#define MAX_DELAY_MS 400u
#define END_MS       400000u

enum fate { LIVES, DIES, STALLS, LEAVES, ABORTS, MUTE };

/* What the daemon and a rank have said to each other. */
struct conn {
    bool is_open;      /* the rank's end */
    bool is_joined;    /* its join was handed in */
    bool is_told_off;  /* REFUSE or DROP: nothing may follow */
    bool close_is_due; /* its close is on the way */
    bool has_started, has_left, is_aborted;
    bool is_withdrawn; /* its close was handed in */
    bool has_card, lists_none, wants_card;
    const char *network;
    int32_t wanted_rank;
    uint32_t rank, epoch, n_proposed;
    uint64_t base;
    bool has_heard_death[MAX_RANKS], has_heard_left[MAX_RANKS];
    enum fate fate;
    uint64_t fate_ms;    /* after the start */
    uint64_t stalled_ms; /* until then it says nothing */
    uint64_t next_beat_ms;
    uint64_t last_arrival_ms; /* what it says arrives in order */
    uint64_t fake_base;       /* it cannot map below this */
};

enum kind { SAY_JOIN, SAY_ANSWER, SAY_BEAT, SAY_LEAVE, SAY_ABORT, SAY_CLOSED, SAY_EXITED };

struct message {
    enum kind kind;
    uint64_t at_ms;
    uint32_t conn;
    uint32_t round;
    uint64_t base;
};

struct sim {
    uint64_t seed, rng, now_ms;
    uint64_t paused_until_ms; /* the daemon does not run */
    struct dsm_member_job *job;
    bool is_managed;
    uint32_t n_ranks, n_conns;
    struct conn conns[MAX_CONNS + 1]; /* 1.. */
    struct message queue[1024];
    uint32_t n_queue;
    bool has_died[MAX_RANKS], has_failed, was_aborted, has_started, is_over;
    uint32_t n_deaths;
    bool was_paused;
};

static uint64_t below(struct sim *s, uint64_t n)
{
    return dsm_rng_below(&s->rng, n);
}

#define must(s, condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("seed %llu at %llu ms: not so: %s", (unsigned long long)(s)->seed,        \
                         (unsigned long long)(s)->now_ms, #condition);                             \
    } while (0)

/* A message of a rank, on its way for a while, but never before one that it sent earlier. */
static void say(struct sim *s, uint32_t conn, enum kind kind, uint32_t round, uint64_t base)
{
    struct conn *c = &s->conns[conn];
    uint64_t at_ms = s->now_ms + below(s, MAX_DELAY_MS);
    if (kind != SAY_EXITED) {
        if (at_ms < c->last_arrival_ms)
            at_ms = c->last_arrival_ms;
        c->last_arrival_ms = at_ms;
    }
    must(s, s->n_queue < sizeof s->queue / sizeof s->queue[0]);
    s->queue[s->n_queue++] = (struct message){kind, at_ms, conn, round, base};
}

static void hang_up(struct sim *s, uint32_t conn)
{
    struct conn *c = &s->conns[conn];
    if (!c->is_open || c->close_is_due)
        return;
    c->is_open = false;
    c->close_is_due = true;
    say(s, conn, SAY_CLOSED, 0, 0);
    if (s->is_managed && below(s, 4) > 0)
        say(s, conn, SAY_EXITED, 0, 0);
}

/* ---- what the daemon says ------------------------------------------------------------------ */

static void hear_view(struct sim *s, struct conn *c, const struct dsm_member_action *a)
{
    must(s, c->has_started && !c->has_left);
    must(s, a->epoch > c->epoch);
    must(s, a->rank < s->n_ranks && a->rank != c->rank);
    must(s, !c->has_heard_death[a->rank] && !c->has_heard_left[a->rank]);
    must(s, *a->text != '\0');
    c->epoch = a->epoch;
    c->has_heard_death[a->rank] = true;
}

/* rdma when every rank has it, in one network unless it is wanted; tcp else. */
static void check_transport(struct sim *s, const struct conn *c, const struct dsm_member_action *a)
{
    bool is_wanted = false, all_have = true, is_one_network = true;
    for (uint32_t i = 1; i <= s->n_conns; i++) {
        const struct conn *other = &s->conns[i];
        if (!other->is_joined || other->is_told_off || other->is_withdrawn)
            continue;
        is_wanted = is_wanted || other->wants_card;
        all_have = all_have && other->has_card && !other->lists_none;
        is_one_network = is_one_network && strcmp(other->network, c->network) == 0;
    }
    bool is_rdma = strcmp(dsm_member_job_transport(s->job), "rdma") == 0;
    must(s, is_rdma == (all_have && (is_one_network || is_wanted)));
    must(s, is_rdma || !is_wanted);
    must(s, strcmp(dsm_member_job_rank(s->job, a->rank)->lane_address,
                   is_rdma ? "10.1.0.1:2" : "127.0.0.1:1") == 0);
}

static void hear_start(struct sim *s, struct conn *c, const struct dsm_member_action *a)
{
    must(s, !c->has_started && c->n_proposed > 0);
    must(s, a->epoch == 1 && a->rank < s->n_ranks);
    must(s, c->wanted_rank < 0 || (uint32_t)c->wanted_rank == a->rank);
    check_transport(s, c, a);
    must(s, dsm_member_job_base(s->job) == c->base && c->base >= c->fake_base);
    for (uint32_t i = 1; i <= s->n_conns; i++)
        must(s, !s->conns[i].has_started || s->conns[i].rank != a->rank);
    c->has_started = true;
    c->rank = a->rank;
    c->epoch = 1;
    c->next_beat_ms = s->now_ms + BEAT_MS;
    c->fate_ms += s->now_ms;
}

static void hear_one(struct sim *s, const struct dsm_member_action *a)
{
    struct conn *c = &s->conns[a->conn];
    bool can_hear = c->is_open; /* else it is said to the kernel, and lost */
    must(s, a->conn >= 1 && a->conn <= s->n_conns && c->is_joined);
    must(s, !c->is_told_off);
    switch (a->type) {
    case DSM_MEMBER_ACTION_REFUSE:
        must(s, a->error < 0 && *a->text != '\0');
        c->is_told_off = true;
        hang_up(s, (uint32_t)a->conn);
        return;
    case DSM_MEMBER_ACTION_DROP:
        c->is_told_off = true;
        hang_up(s, (uint32_t)a->conn);
        return;
    case DSM_MEMBER_ACTION_PROPOSE:
        must(s, !c->has_started && a->number == c->n_proposed + 1);
        must(s, a->base != c->base);
        c->n_proposed++;
        c->base = a->base;
        if (can_hear && c->fate != MUTE)
            say(s, (uint32_t)a->conn, SAY_ANSWER, (uint32_t)a->number, a->base);
        return;
    case DSM_MEMBER_ACTION_START:
        hear_start(s, c, a);
        return;
    case DSM_MEMBER_ACTION_VIEW:
        hear_view(s, c, a);
        return;
    case DSM_MEMBER_ACTION_LEFT:
        must(s, c->has_started && a->rank < s->n_ranks && !c->has_heard_death[a->rank]);
        must(s, !c->has_heard_left[a->rank]);
        c->has_heard_left[a->rank] = true;
        if (a->rank == c->rank)
            hang_up(s, (uint32_t)a->conn);
        return;
    case DSM_MEMBER_ACTION_ABORTED:
        must(s, c->has_started && s->was_aborted == false);
        c->is_aborted = true;
        if (below(s, 4) > 0) /* else it does not go by itself */
            hang_up(s, (uint32_t)a->conn);
        return;
    case DSM_MEMBER_ACTION_REPLY:
        must(s, c->has_started);
        return;
    default:
        must(s, false); /* an action for a connection */
    }
}

static void note(struct sim *s, const struct dsm_member_action *a)
{
    switch (a->type) {
    case DSM_MEMBER_ACTION_NOTE_STARTED:
        must(s, !s->has_started && !s->has_failed);
        s->has_started = true;
        return;
    case DSM_MEMBER_ACTION_NOTE_FAILED:
        must(s, !s->has_started && !s->has_failed && a->error < 0);
        s->has_failed = true;
        return;
    case DSM_MEMBER_ACTION_NOTE_DIED:
        must(s, s->has_started && !s->has_died[a->rank]);
        s->has_died[a->rank] = true;
        s->n_deaths++;
        return;
    case DSM_MEMBER_ACTION_NOTE_ABORTED:
        must(s, s->has_started && !s->was_aborted);
        s->was_aborted = true;
        return;
    case DSM_MEMBER_ACTION_NOTE_OVER:
        must(s, !s->is_over);
        s->is_over = true;
        return;
    default:
        return;
    }
}

static void step(struct sim *s, struct dsm_member_event *event)
{
    struct dsm_member_actions actions;
    event->now_ns = s->now_ms * DSM_NS_PER_MS;
    must(s, dsm_member_job_step(s->job, event, &actions) == 0);
    bool was_over = s->is_over;
    for (size_t i = 0; i < actions.n_items; i++) {
        const struct dsm_member_action *a = &actions.items[i];
        if (a->type >= DSM_MEMBER_ACTION_NOTE_REFUSED)
            note(s, a);
        else
            hear_one(s, a);
        must(s, a->type != DSM_MEMBER_ACTION_NOTE_OVER || i + 1 == actions.n_items);
    }
    must(s, s->is_over == dsm_member_job_is_over(s->job));
    must(s, !was_over || !s->has_started || actions.n_items == 0 ||
                event->type == DSM_MEMBER_EVENT_JOIN);
}

/* ---- what the ranks do --------------------------------------------------------------------- */

static void hand_in(struct sim *s, const struct message *m)
{
    struct conn *c = &s->conns[m->conn];
    struct dsm_member_offer offers[] = {{"rdma", "", "", "no card"},
                                        {"tcp", "127.0.0.1:1", "", ""}};
    struct dsm_member_event event = {.conn = m->conn};
    switch (m->kind) {
    case SAY_JOIN:
        c->has_card = below(s, 20) > 0;
        c->network = below(s, 20) > 0 ? "10.1.0.0/16" : "10.2.0.0/16";
        c->lists_none = below(s, 20) == 0; /* an older build */
        c->wants_card = below(s, 50) == 0;
        if (c->has_card)
            offers[0] = (struct dsm_member_offer){"rdma", "10.1.0.1:2", c->network, ""};
        c->is_joined = true;
        event.type = DSM_MEMBER_EVENT_JOIN;
        event.join = (struct dsm_member_join){
            .wanted_rank = c->wanted_rank,
            .n_ranks = s->n_ranks,
            .host = "h",
            .host_id = m->conn % 2 ? "a" : "b",
            .pid = m->conn,
            .lane_address = "127.0.0.1:1",
            .build = below(s, 100) == 0 ? "other" : "b",
            .page_bytes = 4096,
            .cpu = "c",
            .region_bytes = 1 << 30,
            .transport = "tcp",
            .offers = offers,
            .n_offers = c->lists_none ? 0 : 2,
            .wanted_transport = c->wants_card ? "rdma" : "",
            .join_timeout_ns = 20 * DSM_NS_PER_S,
        };
        break;
    case SAY_ANSWER:
        event.type = DSM_MEMBER_EVENT_ANSWER;
        event.answer.round = m->round;
        event.answer.is_mapped = m->base >= c->fake_base;
        event.answer.suggestion = event.answer.is_mapped ? 0 : c->fake_base;
        event.answer.reason = "taken";
        break;
    case SAY_BEAT:
        event.type = DSM_MEMBER_EVENT_BEAT;
        break;
    case SAY_LEAVE:
        c->has_left = true;
        event.type = DSM_MEMBER_EVENT_LEAVE;
        break;
    case SAY_ABORT:
        event.type = DSM_MEMBER_EVENT_ABORT;
        event.abort.status = 3;
        event.abort.reason = "r";
        break;
    case SAY_CLOSED:
        if (!c->is_joined)
            return;
        c->is_withdrawn = true;
        event.type = DSM_MEMBER_EVENT_CLOSED;
        event.closed_reason = "hung up";
        break;
    case SAY_EXITED:
        event.type = DSM_MEMBER_EVENT_EXITED;
        event.exited.rank = c->has_started        ? c->rank
                            : c->wanted_rank >= 0 ? (uint32_t)c->wanted_rank
                                                  : 0;
        event.exited.is_success = below(s, 2);
        event.exited.text = "exited";
        break;
    }
    step(s, &event);
}

static void act(struct sim *s, uint32_t conn)
{
    struct conn *c = &s->conns[conn];
    if (!c->is_open || !c->has_started || s->now_ms < c->stalled_ms)
        return;
    if (s->now_ms >= c->next_beat_ms) {
        say(s, conn, SAY_BEAT, 0, 0);
        c->next_beat_ms = s->now_ms + BEAT_MS;
    }
    if (s->now_ms < c->fate_ms || c->is_aborted)
        return;
    c->fate_ms = UINT64_MAX;
    switch (c->fate) {
    case LIVES:
    case LEAVES:
        say(s, conn, SAY_LEAVE, 0, 0);
        return;
    case DIES:
        hang_up(s, conn);
        return;
    case STALLS:
        c->stalled_ms = s->now_ms + below(s, 20000);
        c->fate = LIVES;
        c->fate_ms = s->now_ms + 40000;
        return;
    case ABORTS:
        say(s, conn, SAY_ABORT, 0, 0);
        hang_up(s, conn);
        return;
    case MUTE:
        c->stalled_ms = UINT64_MAX;
        return;
    }
}

static void deliver_due(struct sim *s)
{
    for (;;) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < s->n_queue; i++)
            if (s->queue[i].at_ms <= s->now_ms &&
                (best == UINT32_MAX || s->queue[i].at_ms < s->queue[best].at_ms))
                best = i;
        if (best == UINT32_MAX)
            return;
        struct message m = s->queue[best];
        /* In the order of sending, among equals too. */
        memmove(&s->queue[best], &s->queue[best + 1], (s->n_queue - best - 1) * sizeof s->queue[0]);
        s->n_queue--;
        hand_in(s, &m);
    }
}

static void tick_due(struct sim *s)
{
    for (uint32_t n = 0; dsm_member_job_next_ns(s->job) <= s->now_ms * DSM_NS_PER_MS; n++) {
        must(s, n < 3 * MAX_CONNS); /* every tick gets something done */
        step(s, &(struct dsm_member_event){.type = DSM_MEMBER_EVENT_TICK});
    }
}

/* ---- a run --------------------------------------------------------------------------------- */

static void set_up(struct sim *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->seed = s->rng = seed;
    s->now_ms = 1;
    s->n_ranks = 1 + (uint32_t)below(s, MAX_RANKS);
    s->is_managed = below(s, 2);
    struct dsm_member_job_config config = {
        .n_ranks = s->n_ranks,
        .lease_ns = LEASE_MS * DSM_NS_PER_MS,
        .is_managed = s->is_managed,
        .exit_grace_ns = GRACE_MS * DSM_NS_PER_MS,
    };
    s->job = dsm_member_job_new(&config);
    must(s, s->job != NULL);
    /* Mostly those who are expected; sometimes fewer, more, or two with one number. */
    s->n_conns = s->n_ranks;
    if (below(s, 4) == 0)
        s->n_conns = 1 + (uint32_t)below(s, MAX_CONNS - 1);
    bool is_quiet = below(s, 4) == 0;
    for (uint32_t i = 1; i <= s->n_conns; i++) {
        struct conn *c = &s->conns[i];
        c->is_open = true;
        c->wanted_rank = below(s, 3) ? (int32_t)((i - 1) % s->n_ranks) : -1;
        c->fate = is_quiet ? LIVES : (enum fate)below(s, MUTE + (below(s, 8) == 0));
        c->fate_ms = below(s, 20000);
        if (below(s, 6) == 0)
            c->fake_base = 0x100000000000 + (below(s, 64) << 40);
        c->last_arrival_ms = below(s, 3000);
        say(s, i, SAY_JOIN, 0, 0);
        if (!is_quiet && below(s, 30) == 0)
            hang_up(s, i);
    }
}

/* At the end everybody must have gone, and all who could hear must know of every death. */
static void check_end(struct sim *s)
{
    bool nobody_came = s->is_managed && !s->has_started && !s->has_failed;
    must(s, s->is_over || nobody_came);
    for (uint32_t i = 1; i <= s->n_conns && s->has_started; i++) {
        const struct conn *c = &s->conns[i];
        if (!c->has_started || s->was_aborted)
            continue;
        bool ended_well = c->has_left && !s->has_died[c->rank];
        must(s, ended_well || s->has_died[c->rank]);
        /* Silence is a death only when it was one, or when the daemon was not there to hear. */
        must(s, !(c->fate == LIVES && c->stalled_ms == 0 && !s->was_paused && !c->is_aborted) ||
                    !s->has_died[c->rank]);
    }
}

/* Every rank that runs must hear of a death when it is published. */
static void check_views(struct sim *s)
{
    for (uint32_t i = 1; i <= s->n_conns; i++) {
        const struct conn *c = &s->conns[i];
        if (!c->has_started || !c->is_open || c->has_left || c->is_told_off || s->was_aborted)
            continue;
        for (uint32_t rank = 0; rank < s->n_ranks; rank++)
            must(s, !s->has_died[rank] || rank == c->rank || c->has_heard_death[rank]);
    }
}

static uint64_t one_seed; /* 0: all */
static struct {
    unsigned n_started, n_failed, n_aborted, n_deaths, n_paused;
} seen; /* that the runs are not all alike */

static void run(uint64_t seed)
{
    static struct sim sim;
    struct sim *s = &sim;
    set_up(s, seed);
    for (; s->now_ms < END_MS && !(s->is_over && s->n_queue == 0); s->now_ms += 20) {
        for (uint32_t i = 1; i <= s->n_conns; i++)
            act(s, i);
        if (below(s, 4000) == 0) {
            s->paused_until_ms = s->now_ms + below(s, 20000);
            s->was_paused = true;
        }
        if (s->now_ms < s->paused_until_ms)
            continue;
        deliver_due(s); /* as the server does: what lies unread comes before the time */
        tick_due(s);
        check_views(s);
    }
    check_end(s);
    seen.n_started += s->has_started;
    seen.n_failed += s->has_failed;
    seen.n_aborted += s->was_aborted;
    seen.n_deaths += s->n_deaths;
    seen.n_paused += s->was_paused && s->has_started;
    dsm_member_job_free(s->job);
}

START_TEST(every_job_ends_and_everybody_hears_of_every_death)
{
    if (one_seed) {
        run(one_seed);
        return;
    }
    printf("seeds %u to %u\n", FIRST_SEED, FIRST_SEED + N_RUNS - 1);
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + N_RUNS; seed++)
        run(seed);
    fflush(stdout);
    printf("%u jobs started, %u failed to, %u aborted, %u deaths, %u with a daemon that paused\n",
           seen.n_started, seen.n_failed, seen.n_aborted, seen.n_deaths, seen.n_paused);
    ck_assert_uint_gt(seen.n_started, N_RUNS / 2);
    ck_assert_uint_gt(seen.n_failed, N_RUNS / 20);
    ck_assert_uint_gt(seen.n_aborted, N_RUNS / 20);
    ck_assert_uint_gt(seen.n_deaths, N_RUNS / 4);
    ck_assert_uint_gt(seen.n_paused, N_RUNS / 50);
}
END_TEST

int main(void)
{
    const char *seed = getenv("DSM_TEST_SEED");
    one_seed = seed ? strtoull(seed, NULL, 10) : 0;
    Suite *suite = suite_create("member simulation");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 120);
    tcase_add_test(all, every_job_ends_and_everybody_hears_of_every_death);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
