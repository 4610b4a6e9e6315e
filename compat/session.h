/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.h - what both libraries of old calls have in common: start and end, messages, memory of
 * their own, and a place where the one thread of the program waits to be rung.
 *
 * They use nothing of libdsm but its public calls. Programs written for these systems have one
 * thread in each process, and so have the libraries' states.
 */
#ifndef DSM_COMPAT_SESSION_H
#define DSM_COMPAT_SESSION_H

#include <dsm/dsm.h>
#include <stdarg.h>

#define COMPAT_PAGE 4096u

/* One line on stderr, and the end of all processes. */
void dsm_compat_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* The same for a failed call of libdsm; 0 is none. */
void dsm_compat_check(int error, const char *call);
/* The end of all processes, or of this one when there is no job (yet). */
void dsm_compat_end(int status) __attribute__((noreturn));
/* Prefix, message and newline in one write. */
void dsm_compat_say(const char *format, va_list args);

/* Joins the job; ends the process where that fails. `call` is what the program knows it by. */
void dsm_compat_open(const char *call, uint32_t max_processes);
/* Waits for all, and leaves. */
void dsm_compat_close(const char *call);
/* Ends the process when the session is not open. */
void dsm_compat_need_open(const char *call);

/* Zeroed shared memory for the library's own tables; collective. Only what is touched is paid for.
 */
void *dsm_compat_table(uint64_t bytes, enum dsm_placement placement);

/*
 * Waits until somebody rang this process since the last return. There may be nothing to see: look
 * again. The handler (NULL: none) is called at each ring as well, as dsm_on_ring says.
 */
void dsm_compat_wait_for_ring(void);
void dsm_compat_on_ring(void (*handler)(uint32_t from));
void dsm_compat_ring(uint32_t rank);

uint64_t dsm_compat_now_ns(void);

#endif
