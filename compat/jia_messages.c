/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jia_messages.c - dsm/jia.h: messages between processes, broadcast, reduction.
 *
 * A message is a block of shared memory in the receiver's list. The sender goes on at once; the
 * receiver sleeps until it is rung.
 */
#define _GNU_SOURCE
#include "jia_private.h"
#include <stdlib.h>
#include <string.h>

struct message {
    struct message *next;
    int from, tag, len;
    char bytes[];
};

/* On a page of its own, which lives at its process. */
struct inbox {
    struct message *first, *last;
    char pad[COMPAT_PAGE - 2 * sizeof(struct message *)];
};

static struct inbox *inboxes;

void jia_messages_open(void)
{
    inboxes = dsm_compat_table(dsm_size() * sizeof *inboxes, DSM_PLACE_BLOCK);
}

static void check_process(int process, const char *call)
{
    if (process < 0 || process >= jiahosts)
        dsm_compat_fail("%s: there is no process %d; they are 0 to %d", call, process,
                        jiahosts - 1);
}

static void check_buffer(const char *buf, int len, const char *call)
{
    dsm_compat_need_open(call);
    if (len < 0 || (!buf && len))
        dsm_compat_fail("%s: %d bytes at %p", call, len, (const void *)buf);
}

void jia_send(char *buf, int len, int to, int tag)
{
    check_buffer(buf, len, "jia_send");
    check_process(to, "jia_send");
    struct message *m = dsm_malloc(sizeof *m + (size_t)len);

    if (!m)
        dsm_compat_fail("jia_send: no room for a message of %d bytes: raise DSM_REGION_SIZE", len);
    m->next = NULL;
    m->from = jiapid;
    m->tag = tag;
    m->len = len;
    if (len)
        memcpy(m->bytes, buf, (size_t)len);
    struct inbox *inbox = &inboxes[to];
    jia_table_lock(JIA_INBOX_LOCK(to));
    if (inbox->first)
        inbox->last->next = m;
    else
        inbox->first = m;
    inbox->last = m;
    jia_table_unlock(JIA_INBOX_LOCK(to));
    dsm_compat_ring((uint32_t)to);
}

/* The oldest message that is meant, taken out of the list; NULL: none yet. */
static struct message *take(int from, int tag)
{
    struct inbox *inbox = &inboxes[jiapid];
    struct message *before = NULL, *m;

    jia_table_lock(JIA_INBOX_LOCK(jiapid));
    for (m = inbox->first; m; before = m, m = m->next) {
        if ((from != -1 && m->from != from) || (tag != -1 && m->tag != tag))
            continue;
        if (before)
            before->next = m->next;
        else
            inbox->first = m->next;
        if (inbox->last == m)
            inbox->last = before;
        break;
    }
    jia_table_unlock(JIA_INBOX_LOCK(jiapid));
    return m;
}

int jia_recv(char *buf, int len, int from, int tag)
{
    struct message *m;

    check_buffer(buf, len, "jia_recv");
    if (from != -1)
        check_process(from, "jia_recv");
    while (!(m = take(from, tag)))
        dsm_compat_wait_for_ring();
    int n = m->len < len ? m->len : len;
    if (n)
        memcpy(buf, m->bytes, (size_t)n);
    dsm_compat_check(dsm_free(m), "jia_recv");
    return n;
}

void jia_bcast(char *buf, int len, int root)
{
    check_buffer(buf, len, "jia_bcast");
    check_process(root, "jia_bcast");
    dsm_compat_check(dsm_bcast(buf, (size_t)len, (uint32_t)root), "jia_bcast");
}

void jia_reduce(char *snd, char *rcv, int count, int op, int root)
{
    static const enum dsm_op ops[] = {
        [JIA_SUM] = DSM_SUM, [JIA_MAX] = DSM_MAX, [JIA_MIN] = DSM_MIN};
    static const enum dsm_type types[] = {DSM_INT32, DSM_FLOAT, DSM_DOUBLE};
    static const size_t widths[] = {4, 4, 8};

    dsm_compat_need_open("jia_reduce");
    check_process(root, "jia_reduce");
    if (op < 0 || op / 10 > 2 || op % 10 > 2)
        dsm_compat_fail(
            "jia_reduce: operation %d; allowed are 0 to 2 (int), 10 to 12 (float) and 20 "
            "to 22 (double): sum, maximum, minimum",
            op);
    if (count < 0 || (count && (!snd || (jiapid == root && !rcv))))
        dsm_compat_fail("jia_reduce: %d values from %p to %p", count, (void *)snd, (void *)rcv);
    size_t bytes = (size_t)count * widths[op / 10];
    char *all = malloc(bytes ? bytes : 1);
    if (!all)
        dsm_compat_fail("jia_reduce: out of memory for %d values", count);
    if (bytes)
        memcpy(all, snd, bytes);
    dsm_compat_check(dsm_allreduce(all, (size_t)count, types[op / 10], ops[op % 10]), "jia_reduce");
    if (jiapid == root && bytes)
        memcpy(rcv, all, bytes);
    free(all);
}
