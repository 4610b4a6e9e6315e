/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * member_transport.c - which transport a job takes.
 *
 * Every rank says what it has. One that a rank wants must be there on all; of several that would
 * do, the first in rank 0's order that every rank has and by which all reach each other. What
 * reaches only its own network (a card's) must find all ranks in one network: dsmd cannot try a
 * route. Where it was wanted it is taken without that, and a peer that cannot be reached is told
 * when it is met.
 */
#include "dsmd/member_private.h"
#include "base/log.h"
#include <dsm/dsm.h>
#include <stdlib.h>
#include <string.h>

static size_t text_bytes(const char *text)
{
    return strlen(text) + 1;
}

static const char *put_text(char **at, const char *text)
{
    size_t n = text_bytes(text);
    char *copy = memcpy(*at, text, n);
    *at += n;
    return copy;
}

int dsm_member_transport_note(struct dsm_member *member, const struct dsm_member_join *join)
{
    const struct dsm_member_offer only = {join->transport, join->lane_address, "", ""};
    const struct dsm_member_offer *given = join->n_offers ? join->offers : &only;
    uint32_t n_offers = join->n_offers ? join->n_offers : 1;
    const char *wanted = join->wanted_transport ? join->wanted_transport : "";
    size_t bytes = n_offers * sizeof *given + text_bytes(wanted);
    for (uint32_t i = 0; i < n_offers; i++)
        bytes += text_bytes(given[i].transport) + text_bytes(given[i].lane_address) +
                 text_bytes(given[i].network) + text_bytes(given[i].reason);
    struct dsm_member_offer *offers = malloc(bytes);
    if (!offers)
        return DSM_E_NOMEM;
    char *at = (char *)(offers + n_offers);
    for (uint32_t i = 0; i < n_offers; i++) {
        offers[i].transport = put_text(&at, given[i].transport);
        offers[i].lane_address = put_text(&at, given[i].lane_address);
        offers[i].network = put_text(&at, given[i].network);
        offers[i].reason = put_text(&at, given[i].reason);
    }
    member->wanted_transport = put_text(&at, wanted);
    member->offers = offers;
    member->n_offers = n_offers;
    return 0;
}

static const struct dsm_member_offer *find_offer(const struct dsm_member *member,
                                                 const char *transport)
{
    for (uint32_t i = 0; i < member->n_offers; i++)
        if (strcmp(member->offers[i].transport, transport) == 0)
            return &member->offers[i];
    return NULL;
}

static struct dsm_member *member_of(const struct dsm_member_job *job, uint32_t rank)
{
    return &job->members[job->by_rank[rank]];
}

/* The first rank without the transport, in why. */
static bool all_have(const struct dsm_member_job *job, const char *transport,
                     char why[DSM_MEMBER_TEXT_BYTES])
{
    char name[DSM_MEMBER_TEXT_BYTES];
    for (uint32_t rank = 0; rank < job->config.n_ranks; rank++) {
        const struct dsm_member *member = member_of(job, rank);
        const struct dsm_member_offer *offer = find_offer(member, transport);
        if (offer && *offer->lane_address)
            continue;
        const char *reason = offer ? offer->reason : "";
        dsm_member_name_of(member, name);
        dsm_format(why, DSM_MEMBER_TEXT_BYTES, "%s has no transport %s%s%s", name, transport,
                   *reason ? ": " : "", reason);
        return false;
    }
    return true;
}

/* The first rank in another network than rank 0, in why; else the network. All have it. */
static bool all_reach(const struct dsm_member_job *job, const char *transport,
                      char why[DSM_MEMBER_TEXT_BYTES])
{
    const struct dsm_member *first = member_of(job, 0);
    const char *network = find_offer(first, transport)->network;
    for (uint32_t rank = 1; rank < job->config.n_ranks; rank++) {
        const struct dsm_member *member = member_of(job, rank);
        const char *theirs = find_offer(member, transport)->network;
        if (strcmp(network, theirs) == 0)
            continue;
        char name[DSM_MEMBER_TEXT_BYTES], other[DSM_MEMBER_TEXT_BYTES];
        dsm_member_name_of(member, name);
        dsm_member_name_of(first, other);
        dsm_format(why, DSM_MEMBER_TEXT_BYTES, "%s is in the network %s of %s, %s in %s", name,
                   *theirs ? theirs : "?", transport, other, *network ? network : "?");
        return false;
    }
    dsm_format(why, DSM_MEMBER_TEXT_BYTES, "every rank has it%s%s",
               *network ? ", in the network " : "", network);
    return true;
}

static void take(struct dsm_member_job *job, const char *transport)
{
    job->transport = find_offer(member_of(job, 0), transport)->transport;
    for (uint32_t rank = 0; rank < job->config.n_ranks; rank++) {
        struct dsm_member *member = member_of(job, rank);
        member->lane_address = find_offer(member, transport)->lane_address;
    }
}

/* The first rank that wants a certain transport; NULL: none does. False: two want different ones.
 */
static bool find_wanting(const struct dsm_member_job *job, const struct dsm_member **wanting_out,
                         char text[DSM_MEMBER_TEXT_BYTES])
{
    const struct dsm_member *first = NULL;
    for (uint32_t rank = 0; rank < job->config.n_ranks; rank++) {
        const struct dsm_member *member = member_of(job, rank);
        if (!*member->wanted_transport)
            continue;
        if (!first)
            first = member;
        if (strcmp(first->wanted_transport, member->wanted_transport) == 0)
            continue;
        char name[DSM_MEMBER_TEXT_BYTES], other[DSM_MEMBER_TEXT_BYTES];
        dsm_member_name_of(member, name);
        dsm_member_name_of(first, other);
        dsm_format(text, DSM_MEMBER_TEXT_BYTES, "%s wants transport %s, %s wants %s", name,
                   member->wanted_transport, other, first->wanted_transport);
        return false;
    }
    *wanting_out = first;
    return true;
}

static bool take_wanted(struct dsm_member_job *job, const struct dsm_member *wanting,
                        char text[DSM_MEMBER_TEXT_BYTES])
{
    char why[DSM_MEMBER_TEXT_BYTES], who[DSM_MEMBER_TEXT_BYTES];
    dsm_member_name_of(wanting, who);
    if (!all_have(job, wanting->wanted_transport, why)) {
        dsm_format(text, DSM_MEMBER_TEXT_BYTES, "%s (%s wants it)", why, who);
        return false;
    }
    dsm_format(job->transport_reason, sizeof job->transport_reason, "%s wants it", who);
    take(job, wanting->wanted_transport);
    return true;
}

bool dsm_member_transport_choose(struct dsm_member_job *job, char text[DSM_MEMBER_TEXT_BYTES])
{
    char why[DSM_MEMBER_TEXT_BYTES];
    const struct dsm_member *wanting;
    if (!find_wanting(job, &wanting, text))
        return false;
    if (wanting)
        return take_wanted(job, wanting, text);
    const struct dsm_member *first = member_of(job, 0);
    for (uint32_t i = 0; i < first->n_offers; i++) {
        const char *transport = first->offers[i].transport;
        if (all_have(job, transport, why) && all_reach(job, transport, why)) {
            /* Why none of the better ones; else why this. */
            if (i == 0)
                memcpy(job->transport_reason, why, sizeof why);
            take(job, transport);
            return true;
        }
        if (i == 0)
            memcpy(job->transport_reason, why, sizeof why);
    }
    dsm_format(text, DSM_MEMBER_TEXT_BYTES, "no transport is common to all ranks: %s", why);
    return false;
}
