/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_text.c - what people write: numbers, sizes, tokens, lists of hosts. */
#include <math.h>
#include <string.h>
#include <dsm/dsm.h>
#include "base/parse.h"
#include "dsmrun/hosts.h"
#include "fuzz.h"

static void take_hosts(const char *text)
{
    struct dsm_hosts hosts = {0};
    char why[256] = "";
    uint32_t n_ranks = 5, sum = 0;

    if (dsm_hosts_parse(text, &hosts, why, sizeof(why)) < 0) {
        FUZZ_CHECK(why[0] != '\0' && memchr(why, '\0', sizeof(why)) != NULL);
        return;
    }
    FUZZ_CHECK(hosts.n_items > 0);
    if (dsm_hosts_deal(&hosts, &n_ranks, why, sizeof(why)) == 0) {
        for (uint32_t i = 0; i < hosts.n_items; i++) {
            FUZZ_CHECK(hosts.items[i].first_rank == sum && hosts.items[i].n_ranks > 0);
            sum += hosts.items[i].n_ranks;
        }
        FUZZ_CHECK(sum == n_ranks);
    }
    dsm_hosts_close(&hosts);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
    char *text = malloc(len_bytes + 1);
    uint8_t token[16];
    uint64_t value;
    int64_t number;
    double seconds;

    if (text == NULL)
        return 0;
    memcpy(text, bytes, len_bytes);
    text[len_bytes] = '\0';
    (void)dsm_parse_size(text, &value);
    if (dsm_parse_u64(text, 10, 1000, &value) == 0)
        FUZZ_CHECK(value >= 10 && value <= 1000);
    if (dsm_parse_i64(text, -5, 1000, &number) == 0)
        FUZZ_CHECK(number >= -5 && number <= 1000);
    if (dsm_parse_seconds(text, &seconds) == 0)
        FUZZ_CHECK(isfinite(seconds) && seconds > 0);
    if (dsm_parse_token(text, token) == 0)
        FUZZ_CHECK(strlen(text) == 32);
    take_hosts(text);
    free(text);
    return 0;
}

size_t fuzz_seed(unsigned number, uint8_t out[FUZZ_MAX_BYTES])
{
    static const char *const texts[] = {"64",
                                        "0x1f",
                                        "1.5GiB",
                                        "-3",
                                        "16t",
                                        "0.25",
                                        "00112233445566778899aabbccddeeff",
                                        "a,b:2,user@c.example:10",
                                        "[fe80::1]:4,localhost"};

    if (number >= sizeof(texts) / sizeof(texts[0]))
        return 0;
    strcpy((char *)out, texts[number]);
    return strlen(texts[number]);
}
