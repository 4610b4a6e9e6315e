/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_profile.c - a profile of anybody's making: read, analysed and printed, or refused with one
 * line. */
#include <dsm/dsm.h>
#include <string.h>
#include "base/bytes.h"
#include "fuzz.h"
#include "report/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    static FILE *sink;
    static struct report report;
    char why[REPORT_WHY_BYTES] = "";
    int err = report_load(&report, bytes, len_bytes, why);

    FUZZ_CHECK(err == 0 || (err == DSM_E_PROTO && why[0] != '\0') || err == DSM_E_NOMEM);
    if (sink == NULL)
        sink = fopen("/dev/null", "w");
    if (err == 0 && report.ranks != NULL && sink != NULL && report_analyse(&report) == 0) {
        uint64_t users = 0;

        for (size_t i = 0; i < report.n_units; i++)
            for (size_t j = 0; j < report.units[i].n_users; j++)
                users += report.units[i].users[j].faults[DSM_PROFILE_READ] +
                         report.units[i].users[j].faults[DSM_PROFILE_WRITE] +
                         report.units[i].users[j].faults[DSM_PROFILE_UPGRADE];
        FUZZ_CHECK(users == report.faults[DSM_PROFILE_READ] + report.faults[DSM_PROFILE_WRITE] +
                                report.faults[DSM_PROFILE_UPGRADE]);
        FUZZ_CHECK(report_print_text(&report, "fuzz", 10, sink));
        FUZZ_CHECK(report_print_html(&report, "fuzz", 10, sink));
    }
    report_free(&report);
    return 0;
}

static size_t put_rank(uint8_t *out, uint32_t rank, uint32_t n_ranks)
{
    uint32_t n = DSM_PROFILE_WORD_RECEIVED + n_ranks + DSM_PROFILE_N_COUNTERS + rank;

    dsm_profile_put_section(out, DSM_PROFILE_TAG_LIVE, rank, DSM_PROFILE_SECTION_BYTES + 8 * n);
    dsm_put_u64(out + 16, n);
    memset(out + DSM_PROFILE_SECTION_BYTES, 0, 8 * n);
    dsm_put_u64(out + DSM_PROFILE_SECTION_BYTES, n_ranks);
    dsm_put_u64(out + DSM_PROFILE_SECTION_BYTES + 8 * DSM_PROFILE_WORD_START_NS, 1000);
    dsm_put_u64(out + DSM_PROFILE_SECTION_BYTES + 8 * (DSM_PROFILE_WORD_RECEIVED + n_ranks), 7);
    return DSM_PROFILE_SECTION_BYTES + 8 * n;
}

static size_t put_records(uint8_t *out, uint32_t rank, unsigned number)
{
    uint8_t *at = out + DSM_PROFILE_SECTION_BYTES;
    struct dsm_profile_slot slot = {
        .kind = DSM_PROFILE_MODULE, .n_more = 1, .a = 0x1000, .b = 0x9000};
    uint64_t n = 2;

    dsm_profile_put_slot(at, &slot);
    memset(at + DSM_PROFILE_SLOT_BYTES, 0, DSM_PROFILE_SLOT_BYTES);
    memcpy(at + DSM_PROFILE_SLOT_BYTES, "/bin/<x>", 8);
    at += (size_t)2 * DSM_PROFILE_SLOT_BYTES;
    slot = (struct dsm_profile_slot){.kind = DSM_PROFILE_ALLOC, .b = 1u << 20};
    dsm_profile_put_slot(at, &slot);
    at += DSM_PROFILE_SLOT_BYTES;
    n++;
    for (uint8_t kind = DSM_PROFILE_READ; kind < DSM_PROFILE_N_TIMED; kind++, n++) {
        slot = (struct dsm_profile_slot){.kind = kind,
                                         .unit_log2 = (uint8_t)(number % 10),
                                         .time_ns = 2000 + n,
                                         .a = number * 4096 + rank * 8,
                                         .b = 0x2000,
                                         .c = 1};
        dsm_profile_put_slot(at, &slot);
        at += DSM_PROFILE_SLOT_BYTES;
    }
    dsm_profile_put_section(out, DSM_PROFILE_TAG_EVENTS, rank, (uint64_t)(at - out));
    dsm_put_u64(out + 16, n);
    return (size_t)(at - out);
}

size_t fuzz_seed(unsigned number, uint8_t out[FUZZ_MAX_BYTES])
{
    size_t len = DSM_PROFILE_HEADER_BYTES;

    if (number >= 12)
        return 0;
    dsm_profile_put_header(out);
    for (uint32_t rank = 0; rank < 2; rank++) {
        len += put_rank(out + len, rank, 2);
        len += put_records(out + len, rank, number);
    }
    return len;
}
