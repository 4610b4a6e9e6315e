/* SPDX-License-Identifier: BSD-3-Clause */
/* trap_access.c - what one thread sees: faults, mappings, and instructions of every kind. */
#define _GNU_SOURCE
#include "trap_suite.h"
#include "base/rng.h"
#include "trap/raw.h"
#include <errno.h>
#include <immintrin.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct owner owner;

static void assert_faults(uint32_t reads, uint32_t writes)
{
    ck_assert_uint_eq(owner.n_reads, reads);
    ck_assert_uint_eq(owner.n_writes, writes);
}

/* What the page allows, by trying: the mapping itself, not the owner's state. Leaves it changed. */
static enum page_state try_page(size_t page)
{
    uint32_t reads = owner.n_reads, writes = owner.n_writes;
    uint64_t value = *app_word(&owner, page);
    if (owner.n_reads != reads)
        return PAGE_NONE;
    *app_word(&owner, page) = value;
    return owner.n_writes != writes ? PAGE_READ : PAGE_WRITE;
}

START_TEST(untouched_page_reads_as_zero_and_then_takes_a_write)
{
    owner_open(&owner, suite_ops, 4, false);
    ck_assert_uint_eq(*app_word(&owner, 1), 0);
    assert_faults(1, 0);
    *app_word(&owner, 1) = 7;
    assert_faults(1, 1);
    ck_assert_uint_eq(*app_word(&owner, 1), 7);
    ck_assert_uint_eq(*frame_word(&owner, 1), 7);
    assert_faults(1, 1);
    owner_close(&owner);
}
END_TEST

START_TEST(untouched_page_takes_a_write_first)
{
    owner_open(&owner, suite_ops, 4, false);
    *app_word(&owner, 2) = 8;
    ck_assert_uint_eq(*app_word(&owner, 2), 8);
    ck_assert_uint_eq(app_word(&owner, 2)[511], 0);
    assert_faults(0, 1);
    owner_close(&owner);
}
END_TEST

START_TEST(pages_that_exist_at_attach_trap_as_well)
{
    owner = (struct owner){.ops = suite_ops};
    owner_open(&owner, suite_ops, 4, true);
    size_t len = 4 * PAGE;
    ck_assert_int_eq(suite_ops->detach(owner.trap, (void *)owner.app, len), 0);
    ck_assert_int_eq(mprotect((void *)owner.app, len, PROT_READ | PROT_WRITE), 0);
    *app_word(&owner, 0) = 5; /* present, and writable, when it is attached again */
    ck_assert_int_eq(
        suite_ops->attach(owner.trap, (void *)owner.app, (void *)owner.frame, owner.memfd, len), 0);
    owner.is_filled[0] = true;
    ck_assert_uint_eq(*app_word(&owner, 0), 5);
    assert_faults(1, 0);
    owner_close(&owner);
}
END_TEST

START_TEST(fault_tells_address_kind_thread_and_instruction)
{
    owner_open(&owner, suite_ops, 4, true);
    uintptr_t addr = app_addr(&owner, 1) + 1234, ip;
    uint8_t value;
    __asm__ volatile("lea 1f(%%rip), %1\n1: movb (%2), %0"
                     : "=q"(value), "=&r"(ip)
                     : "r"(addr)
                     : "memory");
    ck_assert_uint_eq(value, 0);
    ck_assert_uint_eq(owner.last.addr, addr);
    ck_assert(!owner.last.is_write);
    ck_assert_uint_eq(owner.last.thread, (uint32_t)gettid());
    ck_assert_uint_eq(owner.last.is_async, suite_is_async());
    ck_assert_uint_eq(owner.last.ip, suite_is_async() ? 0 : ip);
    __asm__ volatile("lea 1f(%%rip), %0\n1: movb $3, (%1)" : "=&r"(ip) : "r"(addr + 1) : "memory");
    ck_assert_uint_eq(owner.last.addr, addr + 1);
    ck_assert(owner.last.is_write);
    ck_assert_uint_eq(owner.last.ip, suite_is_async() ? 0 : ip);
    assert_faults(1, 1);
    owner_close(&owner);
}
END_TEST

START_TEST(downgraded_page_reads_freely_and_traps_the_next_store)
{
    owner_open(&owner, suite_ops, 4, true);
    *app_word(&owner, 0) = 11;
    owner_downgrade(&owner, 0, 1);
    ck_assert_uint_eq(*app_word(&owner, 0), 11);
    assert_faults(0, 1);
    *app_word(&owner, 0) = 12;
    assert_faults(0, 2);
    ck_assert_uint_eq(*frame_word(&owner, 0), 12);
    owner_close(&owner);
}
END_TEST

START_TEST(unmapped_page_traps_and_keeps_its_bytes)
{
    owner_open(&owner, suite_ops, 4, true);
    *app_word(&owner, 3) = 21;
    owner_unmap(&owner, 3, 1);
    ck_assert_uint_eq(*frame_word(&owner, 3), 21);
    *frame_word(&owner, 3) = 22; /* as if received meanwhile */
    ck_assert_uint_eq(*app_word(&owner, 3), 22);
    assert_faults(1, 1);
    owner_downgrade(&owner, 3, 1);
    owner_unmap(&owner, 3, 1);
    *app_word(&owner, 3) = 23;
    assert_faults(1, 2);
    owner_close(&owner);
}
END_TEST

enum { MAP_READ, MAP_WRITE, DOWNGRADE, UNMAP, N_CALLS };

static void call(int which, size_t first, size_t n)
{
    if (which == MAP_READ || which == MAP_WRITE)
        owner_map(&owner, first, n, which == MAP_WRITE);
    else
        (which == DOWNGRADE ? owner_downgrade : owner_unmap)(&owner, first, n);
}

static enum page_state after_call(int which, enum page_state before)
{
    switch (which) {
    case MAP_READ:
        return PAGE_READ;
    case MAP_WRITE:
        return PAGE_WRITE;
    case DOWNGRADE:
        return before == PAGE_WRITE ? PAGE_READ : before;
    default:
        return PAGE_NONE;
    }
}

START_TEST(every_call_works_twice_from_every_state)
{
    owner_open(&owner, suite_ops, 64, true);
    size_t page = 0;
    for (int state = PAGE_NONE; state <= PAGE_WRITE; state++) {
        for (int which = 0; which < N_CALLS; which++) {
            for (int times = 1; times <= 2; times++, page++) {
                if (state != PAGE_NONE)
                    call(state == PAGE_READ ? MAP_READ : MAP_WRITE, page, 1);
                for (int i = 0; i < times; i++)
                    call(which, page, 1);
                enum page_state want = after_call(which, (enum page_state)state);
                ck_assert_msg(try_page(page) == want, "state %d, call %d, %d times", state, which,
                              times);
            }
        }
    }
    owner_close(&owner);
}
END_TEST

/* The kernel may take a mapping away behind our back (reclaim). */
static void drop_mapping(size_t page)
{
    ck_assert_int_eq(madvise((void *)app_addr(&owner, page), PAGE, MADV_DONTNEED), 0);
}

START_TEST(ranges_of_mixed_pages_take_every_call)
{
    enum { N = 200, ROUNDS = 300 };
    uint64_t rng = suite_seed();
    owner_open(&owner, suite_ops, N, true);
    uint8_t want[N] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        size_t first = dsm_rng_below(&rng, N), n = 1 + dsm_rng_below(&rng, N - first);
        int which = (int)dsm_rng_below(&rng, N_CALLS);
        if (n < 20 && dsm_rng_below(&rng, 2) == 0)
            drop_mapping(first + n / 2);
        call(which, first, n);
        for (size_t page = first; page < first + n; page++)
            want[page] = (uint8_t)after_call(which, want[page]);
    }
    for (size_t page = 0; page < N; page++) {
        enum page_state got = try_page(page);
        /* Less than the state is allowed where the kernel dropped the mapping; more never. */
        ck_assert_msg(got == want[page] || got == PAGE_NONE, "page %zu: %d instead of %d", page,
                      got, want[page]);
        ck_assert_uint_eq(*app_word(&owner, page), owner_word(page));
    }
    owner_close(&owner);
}
END_TEST

START_TEST(batches_give_exactly_what_they_say)
{
    enum { N = 96 };
    uint64_t rng = suite_seed();
    owner_open(&owner, suite_ops, N, true);
    for (int which = 0; which < N_CALLS; which++) {
        for (int round = 0; round < 8; round++) {
            enum page_state before[N];
            owner_unmap(&owner, 0, N);
            for (size_t page = 0; page < N; page++) {
                before[page] = (enum page_state)dsm_rng_below(&rng, 3);
                if (before[page] != PAGE_NONE)
                    owner_map(&owner, page, 1, before[page] == PAGE_WRITE);
            }
            call(which, 0, N);
            for (size_t page = 0; page < N; page++) {
                enum page_state want = after_call(which, before[page]), got = try_page(page);
                ck_assert_msg(got == want, "call %d on page %zu, %d before: %d, not %d", which,
                              page, before[page], got, want);
            }
        }
    }
    owner_close(&owner);
}
END_TEST

START_TEST(reclaimed_page_is_mapped_again)
{
    owner_open(&owner, suite_ops, 4, true);
    *app_word(&owner, 0) = 31;
    ck_assert(owner_is_present(&owner, 0));
    /* Only a page that is mapped once is reclaimed on request: so not through the frame view too.
     */
    ck_assert_int_eq(madvise((void *)owner.frame, PAGE, MADV_DONTNEED), 0);
    ck_assert_int_eq(madvise((void *)app_addr(&owner, 0), PAGE, MADV_PAGEOUT), 0);
    bool is_out = !owner_is_present(&owner, 0);
    if (!is_out) {
        printf("NOTE: this kernel keeps the mapping at MADV_PAGEOUT; dropped with MADV_DONTNEED\n");
        drop_mapping(0);
    }
    ck_assert(!owner_is_present(&owner, 0));
    ck_assert_uint_eq(*app_word(&owner, 0), 31);
    *app_word(&owner, 0) = 32;
    ck_assert_uint_eq(*frame_word(&owner, 0), 32);
    /* The state was WRITE: one trap maps it back for both (segv: the kernel does by itself). */
    assert_faults(suite_ops == &dsm_trap_segv ? 0 : 1, 1);
    drop_mapping(0);
    owner_downgrade(&owner, 0, 1); /* of a page that is not there */
    *app_word(&owner, 0) = 33;
    ck_assert_uint_eq(*frame_word(&owner, 0), 33);
    ck_assert_uint_eq(owner.n_writes, 2);
    owner_close(&owner);
}
END_TEST

static void store_across(volatile uint8_t *p, uint64_t value)
{
    __asm__ volatile("movq %1, (%0)" : : "r"(p), "r"(value) : "memory");
}

static uint64_t load_across(volatile uint8_t *p)
{
    uint64_t value;
    __asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(p) : "memory");
    return value;
}

START_TEST(access_across_a_boundary_gets_both_pages)
{
    owner_open(&owner, suite_ops, 4, false);
    volatile uint8_t *p = owner.app + PAGE - 3;
    store_across(p, 0x1122334455667788ull);
    assert_faults(0, 2);
    ck_assert_uint_eq(load_across(p), 0x1122334455667788ull);
    ck_assert_uint_eq(owner.frame[PAGE - 1], 0x66);
    ck_assert_uint_eq(owner.frame[PAGE], 0x55);
    owner_unmap(&owner, 0, 2);
    ck_assert_uint_eq(load_across(p), 0x1122334455667788ull);
    assert_faults(2, 2);
    owner_close(&owner);
}
END_TEST

START_TEST(string_copies_run_over_absent_pages)
{
    owner_open(&owner, suite_ops, 16, true);
    void *from = (void *)(app_addr(&owner, 0) + 5), *to = (void *)(app_addr(&owner, 8) + 9);
    size_t n = 4 * PAGE;
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(owner.n_writes, 5);
    ck_assert_uint_eq(owner.n_reads, 5);
    ck_assert_int_eq(
        memcmp((void *)(owner.frame + 8 * PAGE + 9), (void *)(owner.frame + 5), 4 * PAGE), 0);
    to = (void *)app_addr(&owner, 5);
    n = 2 * PAGE / 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(0x0101010101010101ull) : "memory");
    ck_assert_uint_eq(*frame_word(&owner, 6), 0x0101010101010101ull);
    owner_close(&owner);
}
END_TEST

START_TEST(instruction_with_two_operands_in_the_region_gets_both)
{
    owner_open(&owner, suite_ops, 8, true);
    volatile uint64_t *from = app_word(&owner, 1), *to = app_word(&owner, 6);
    __asm__ volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
    ck_assert_uint_eq(*frame_word(&owner, 6), owner_word(1));
    uint64_t stack_word;
    __asm__ volatile("pushq (%1)\n\tpopq %0"
                     : "=r"(stack_word)
                     : "r"(app_word(&owner, 3))
                     : "memory");
    ck_assert_uint_eq(stack_word, owner_word(3));
    owner_close(&owner);
}
END_TEST

START_TEST(locked_instructions_trap_as_writes)
{
    owner_open(&owner, suite_ops, 8, true);
    ck_assert_uint_eq(__atomic_fetch_add(app_word(&owner, 0), 5, __ATOMIC_SEQ_CST), owner_word(0));
    assert_faults(0, 1);
    ck_assert_uint_eq(*frame_word(&owner, 0), owner_word(0) + 5);
    ck_assert_uint_eq(*app_word(&owner, 1), owner_word(1));
    ck_assert_uint_eq(__atomic_exchange_n(app_word(&owner, 1), 9, __ATOMIC_SEQ_CST), owner_word(1));
    assert_faults(1, 2);
    uint64_t expected = 1; /* a compare that fails writes all the same */
    ck_assert(!__atomic_compare_exchange_n(app_word(&owner, 2), &expected, 4, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    ck_assert_uint_eq(expected, owner_word(2));
    ck_assert_uint_eq(*frame_word(&owner, 2), owner_word(2));
    ck_assert(__atomic_compare_exchange_n(app_word(&owner, 2), &expected, 4, false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    ck_assert_uint_eq(*frame_word(&owner, 2), 4);
    owner_close(&owner);
}
END_TEST

__attribute__((target("avx2"))) static void gather(uintptr_t base, const long long offsets[4],
                                                   uint64_t got_out[4])
{
    __m256i at = _mm256_loadu_si256((const __m256i *)offsets);
    __m256i got = _mm256_i64gather_epi64((const long long *)base, at, 1);
    _mm256_storeu_si256((__m256i *)got_out, got);
}

START_TEST(gather_collects_from_absent_pages)
{
    if (!__builtin_cpu_supports("avx2")) {
        printf("SKIPPED, NOT TESTED: gathers: this processor has no AVX2\n");
        return;
    }
    owner_open(&owner, suite_ops, 64, true);
    const long long offsets[] = {17 * PAGE, 2 * PAGE, 33 * PAGE, 51 * PAGE};
    uint64_t got[4];
    gather(app_addr(&owner, 0), offsets, got);
    ck_assert_uint_eq(got[0], owner_word(17));
    ck_assert_uint_eq(got[1], owner_word(2));
    ck_assert_uint_eq(got[2], owner_word(33));
    ck_assert_uint_eq(got[3], owner_word(51));
    assert_faults(4, 0);
    owner_close(&owner);
}
END_TEST

START_TEST(errno_and_registers_survive_a_fault)
{
    owner_open(&owner, suite_ops, 4, true);
    errno = 12345;
    uint64_t rbx = 1, r12 = 2, xmm = 3;
    __asm__ volatile("mov $77, %%rbx\n\tmov $78, %%r12\n\tmov $79, %%rax\n\tmovq %%rax, %%xmm7\n\t"
                     "movb $1, (%3)\n\t"
                     "mov %%rbx, %0\n\tmov %%r12, %1\n\tmovq %%xmm7, %2"
                     : "=m"(rbx), "=m"(r12), "=m"(xmm)
                     : "r"(app_addr(&owner, 2))
                     : "rbx", "r12", "rax", "xmm7", "memory");
    ck_assert_uint_eq(rbx, 77);
    ck_assert_uint_eq(r12, 78);
    ck_assert_uint_eq(xmm, 79);
    ck_assert_int_eq(errno, 12345);
    assert_faults(0, 1);
    owner_close(&owner);
}
END_TEST

START_TEST(several_views_trap_each_for_itself)
{
    static struct owner more[3], apart;
    owner_open(&owner, suite_ops, 4, true);
    for (int i = 0; i < 3; i++)
        owner_open_more(&more[i], &owner, 4 + (size_t)i, true);
    owner_open(&apart, suite_ops, 4, true); /* a second trap */
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(*app_word(&more[i], 2), owner_word(2));
    ck_assert_uint_eq(*app_word(&owner, 2), owner_word(2));
    *app_word(&apart, 2) = 1;
    ck_assert_uint_eq(more[1].n_faults, 1);
    ck_assert_uint_eq(owner.n_faults, 1);
    ck_assert_uint_eq(apart.n_writes, 1);
    ck_assert_int_ne(suite_ops->attach(owner.trap, (void *)(more[0].app + PAGE), NULL, -1, PAGE),
                     0);
    owner_close(&apart);
    owner_close(&more[1]);
    *app_word(&more[2], 0) = 3;
    *app_word(&owner, 0) = 4;
    ck_assert_uint_eq(more[2].n_faults, 2);
    owner_open_more(&more[1], &owner, 2, true);
    ck_assert_uint_eq(*app_word(&more[1], 1), owner_word(1));
    for (int i = 0; i < 3; i++)
        owner_close(&more[i]);
    owner_close(&owner);
}
END_TEST

START_TEST(detached_view_lets_nothing_through)
{
    owner_open(&owner, suite_ops, 4, true);
    *app_word(&owner, 0) = 1;
    ck_assert_int_eq(suite_ops->detach(owner.trap, (void *)owner.app, 4 * PAGE), 0);
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    /* The kernel reads the page for us and says EFAULT instead of a signal. */
    ck_assert_int_eq(write(fds[1], (void *)owner.app, 8), -1);
    ck_assert_int_eq(errno, EFAULT);
    ck_assert_int_eq(write(fds[1], (void *)(owner.app + PAGE), 8), -1);
    ck_assert_int_eq(suite_ops->detach(owner.trap, (void *)owner.app, 4 * PAGE) == 0, 0);
    suite_ops->close(owner.trap);
}
END_TEST

START_TEST(locked_memory_can_be_unmapped)
{
    owner_open(&owner, suite_ops, 4, true);
    ck_assert_int_eq(mlock2((void *)owner.app, 4 * PAGE, MLOCK_ONFAULT), 0);
    *app_word(&owner, 1) = 1;
    owner_unmap(&owner, 1, 1);
    ck_assert_uint_eq(*app_word(&owner, 1), 1);
    assert_faults(1, 1);
    owner_close(&owner);
}
END_TEST

TCase *trap_access_case(void)
{
    TCase *c = tcase_create("access");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, untouched_page_reads_as_zero_and_then_takes_a_write);
    tcase_add_test(c, untouched_page_takes_a_write_first);
    tcase_add_test(c, pages_that_exist_at_attach_trap_as_well);
    tcase_add_test(c, fault_tells_address_kind_thread_and_instruction);
    tcase_add_test(c, downgraded_page_reads_freely_and_traps_the_next_store);
    tcase_add_test(c, unmapped_page_traps_and_keeps_its_bytes);
    tcase_add_test(c, every_call_works_twice_from_every_state);
    tcase_add_test(c, ranges_of_mixed_pages_take_every_call);
    tcase_add_test(c, batches_give_exactly_what_they_say);
    tcase_add_test(c, reclaimed_page_is_mapped_again);
    tcase_add_test(c, access_across_a_boundary_gets_both_pages);
    tcase_add_test(c, string_copies_run_over_absent_pages);
    tcase_add_test(c, instruction_with_two_operands_in_the_region_gets_both);
    tcase_add_test(c, locked_instructions_trap_as_writes);
    tcase_add_test(c, gather_collects_from_absent_pages);
    tcase_add_test(c, errno_and_registers_survive_a_fault);
    tcase_add_test(c, several_views_trap_each_for_itself);
    tcase_add_test(c, detached_view_lets_nothing_through);
    tcase_add_test(c, locked_memory_can_be_unmapped);
    return c;
}
