/* SPDX-License-Identifier: BSD-3-Clause */
/* jia_misuse.c - programs that use dsm/jia.h wrongly, one for each name; run by compat.sh. */
#include <jia.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static char buf[64];

static void misuse(const char *how)
{
    if (strcmp(how, "lock-range") == 0)
        jia_lock(JIA_MAXLOCKS);
    else if (strcmp(how, "lock-negative") == 0)
        jia_lock(-1);
    else if (strcmp(how, "lock-twice") == 0)
        jia_lock(3), jia_lock(3);
    else if (strcmp(how, "unlock") == 0)
        jia_unlock(3);
    else if (strcmp(how, "barrier-locked") == 0)
        jia_lock(2), jia_barrier();
    else if (strcmp(how, "exit-locked") == 0)
        jia_lock(2), jia_exit();
    else if (strcmp(how, "cv") == 0)
        jia_waitcv(JIA_MAXCVS);
    else if (strcmp(how, "alloc-zero") == 0)
        jia_alloc(0);
    else if (strcmp(how, "alloc-block") == 0)
        jia_alloc3(4096, -4096, 0);
    else if (strcmp(how, "alloc-host") == 0)
        jia_alloc2p(4096, jiahosts);
    else if (strcmp(how, "alloc-large") == 0)
        jia_alloc(INT_MAX);
    else if (strcmp(how, "alloc-differs") == 0)
        jia_alloc(4096 * (1 + jiapid));
    else if (strcmp(how, "free") == 0)
        jia_free(buf);
    else if (strcmp(how, "send") == 0)
        jia_send(buf, sizeof buf, jiahosts, 0);
    else if (strcmp(how, "send-length") == 0)
        jia_send(buf, -1, 0, 0);
    else if (strcmp(how, "recv") == 0)
        jia_recv(buf, sizeof buf, -2, 0);
    else if (strcmp(how, "bcast") == 0)
        jia_bcast(buf, sizeof buf, -1);
    else if (strcmp(how, "reduce") == 0)
        jia_reduce(buf, buf, 1, 13, 0);
    else if (strcmp(how, "locks") == 0)
        for (;;)
            (void)jia_new_lock();
    else if (strcmp(how, "subscript") == 0)
        jia_next_subscript(-1, 10);
    else if (strcmp(how, "init-twice") == 0)
        jia_init(0, NULL);
    else if (strcmp(how, "after") == 0)
        jia_exit(), jia_lock(0);
    else if (strcmp(how, "error") == 0)
        jia_error("row %d is %s", 5, "bad");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (strcmp(argv[1], "before") == 0)
        jia_barrier();
    if (strcmp(argv[1], "alloc-before") == 0)
        (void)jia_alloc(10);
    jia_init(argc, argv);
    misuse(argv[1]);
    jia_barrier();
    jia_exit();
    puts("got through");
    return 0;
}
