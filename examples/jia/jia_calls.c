/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jia_calls.c - every call of dsm/jia.h, each checked. Prints one line, exits 0 when all is right.
 *
 * Written as a JIAJIA program is: every process runs main, and its globals are its own.
 */
#include <jia.h>
#include <setting.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tools.h>

#define ROUNDS 200

static void must(int is_right, const char *what)
{
    if (!is_right)
        jia_error("process %d: %s is wrong", jiapid, what);
}

/* Everybody writes a share of each, and reads it all. */
static void check_memory(void)
{
    int blocks[2] = {8192, 4096}, hosts[1] = {0}, n = 10000;
    unsigned long addrs[] = {
        jia_alloc(n * 4),
        jia_alloc1(n * 4),
        jia_alloc2(n * 4, 5000),
        jia_alloc2p(n * 4, jiahosts - 1),
        jia_alloc3(n * 4, n, 0),
        jia_alloc3b(n * 4, blocks, 0),
        jia_alloc_random(n * 4),
        jia_alloc4(n * 4, blocks, 2, jiahosts - 1),
        jia_alloc_array(n * 4, hosts, 1),
    };

    for (size_t k = 0; k < sizeof addrs / sizeof *addrs; k++) {
        int *a = (int *)addrs[k];
        for (int i = 0; i < n; i += 997)
            must(a[i] == 0, "fresh memory");
        jia_barrier();
        for (int i = jiapid; i < n; i += jiahosts)
            a[i] = i * (int)(k + 1);
        jia_barrier(k);
        for (int i = 0; i < n; i++)
            must(a[i] == i * (int)(k + 1), "shared memory");
        jia_wtnt(a, n * 4);
        jia_wtntw(a);
        jia_wtntd(a);
        jia_barrier();
        jia_free(a);
    }
    /* The last block is there whole: 3 blocks of two pages. */
    char *tail = (char *)jia_alloc3(17000, 8000, 0);
    jia_barrier();
    if (jiapid == jiahosts - 1)
        tail[3 * 8192 - 1] = 7;
    jia_barrier();
    must(tail[3 * 8192 - 1] == 7, "the end of the last block");
}

static void check_locks(void)
{
    int *sums = (int *)jia_alloc(2 * sizeof(int));

    for (int i = 0; i < ROUNDS; i++) {
        jia_lock(1);
        sums[0]++;
        jia_lock(JIA_MAXLOCKS - 1); /* one inside the other */
        sums[1] += 2;
        jia_unlock(JIA_MAXLOCKS - 1);
        jia_unlock(1);
    }
    jia_barrier();
    must(sums[0] == ROUNDS * jiahosts && sums[1] == 2 * ROUNDS * jiahosts, "a sum under locks");
    jia_wait();
}

/* Process 0 produces, one value after the other; each of the others takes it before the next. */
static void check_cvs(void)
{
    enum { full = 3, taken = 10 };
    int *value = (int *)jia_alloc(sizeof(int));

    for (int round = 1; round <= 20; round++) {
        if (jiapid == 0) {
            *value = round;
            jia_setcv(full);
            for (int p = 1; p < jiahosts; p++) {
                jia_waitcv(taken + p);
                jia_resetcv(taken + p);
            }
            jia_resetcv(full);
        } else {
            jia_waitcv(full);
            must(*value == round, "what a condition variable announced");
            jia_setcv(taken + jiapid);
        }
        jia_barrier();
    }
    jia_setcv(JIA_MAXCVS - 1);
    jia_waitcv(JIA_MAXCVS - 1); /* set already */
}

/* A token goes round; then everybody sends to process 0, which takes the messages out of order. */
static void check_messages(void)
{
    int token = 0, next = (jiapid + 1) % jiahosts, before = (jiapid + jiahosts - 1) % jiahosts;
    char text[64], big[20000];

    if (jiapid == 0) {
        token = 1;
        jia_send((char *)&token, sizeof token, next, 5);
        must(jia_recv((char *)&token, sizeof token, before, 5) == sizeof token, "a length");
        must(token == jiahosts, "the token");
    } else {
        must(jia_recv((char *)&token, sizeof token, before, 5) == sizeof token, "a length");
        token++;
        jia_send((char *)&token, sizeof token, next, 5);
    }
    memset(big, jiapid + 1, sizeof big);
    jia_send(big, sizeof big, 0, 100 + jiapid);
    sprintf(text, "greetings from %d", jiapid);
    jia_send(text, (int)strlen(text) + 1, 0, 7);
    if (jiapid == 0) {
        unsigned long seen = 0;
        for (int p = 0; p < jiahosts; p++) {
            int from = -1;
            must(jia_recv(text, sizeof text, -1, 7) > 0, "a length");
            must(sscanf(text, "greetings from %d", &from) == 1, "a text");
            seen |= 1ul << from;
        }
        must(seen == (1ul << jiahosts) - 1, "the set of senders");
        for (int p = jiahosts; p-- > 0;) {
            must(jia_recv(big, 9, p, -1) == 9, "the length of a message that was cut");
            must(big[0] == p + 1 && big[8] == p + 1, "a message that was cut");
        }
    }
    jia_wait();
}

static void check_collectives(void)
{
    int ints[3] = {jiapid + 1, jiapid, -jiapid}, most[3];
    float floats[2] = {(float)jiapid, 0.5f}, float_sums[2];
    double least = 10.0 - jiapid, result = 0;
    int n = jiahosts, root = jiahosts - 1;

    for (int op = JIA_SUM; op <= JIA_MIN; op++) {
        jia_reduce((char *)ints, (char *)most, 3, JIA_INT + op, root);
        if (jiapid != root)
            continue;
        if (op == JIA_SUM)
            must(most[0] == n * (n + 1) / 2 && most[1] == n * (n - 1) / 2, "a sum");
        if (op == JIA_MAX)
            must(most[0] == n && most[1] == n - 1 && most[2] == 0, "a maximum");
        if (op == JIA_MIN)
            must(most[0] == 1 && most[1] == 0 && most[2] == 1 - n, "a minimum");
    }
    jia_reduce((char *)floats, (char *)float_sums, 2, JIA_FLOAT + JIA_SUM, 0);
    jia_reduce((char *)&least, (char *)&result, 1, JIA_DOUBLE + JIA_MIN, 0);
    if (jiapid == 0)
        must(float_sums[1] == 0.5f * (float)n && result == 11.0 - n, "a reduction of reals");
    char text[5000];
    memset(text, jiapid, sizeof text);
    jia_bcast(text, sizeof text, root);
    must(text[0] == root && text[sizeof text - 1] == root, "a broadcast");
}

static void check_rest(void)
{
    int begin = 10, end = 10 + 1003, *shares = (int *)jia_alloc(1003 * (int)sizeof(int));
    double clock = jia_clock();
    unsigned long now = jia_current_time();

    jia_config(HMIG, ON);
    jia_config(ADWD, OFF);
    jia_config(BROADCAST, ON);
    jia_config(LOADBAL, OFF);
    jia_config(WVEC, ON);
    jia_loadcheck();
    jia_divtask(&begin, &end);
    for (int i = begin; i < end; i++)
        shares[i - 10]++;
    jia_barrier();
    for (int i = 0; i < 1003; i++)
        must(shares[i] == 1, "a division of tasks");
    must(jia_pid == jiapid && jiapid < jiahosts, "a process number");
    must(clock >= 0 && clock < 3600 && jia_clock() >= clock, "the clock");
    must(jia_current_time() >= now, "the time");
    must(jia_startstat() <= jia_stopstat(), "the time of statistics");
}

int main(int argc, char **argv)
{
    jia_init(argc, argv);
    check_memory();
    check_locks();
    check_cvs();
    check_messages();
    check_collectives();
    check_rest();
    jia_barrier();
    if (jiapid == 0)
        printf("jia_calls: %d processes: right\n", jiahosts);
    if (jiapid == 0 && argc > 1 && strcmp(argv[1], "--fail") == 0)
        jia_errexit("process %d ends them all", jiapid);
    jia_exit();
    return 0;
}
