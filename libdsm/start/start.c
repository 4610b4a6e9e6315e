/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * start.c - linked into every program by dsmcc, with --wrap=main: what only the program itself
 * knows about how it was built, told to libdsm before main.
 *
 * A weak symbol is there when the program, or the compiler's run-time in it, defines it.
 */
#include <dsm/parmacs.h>

#define OPTIONAL __attribute__((weak))
extern const char dsm_parmacs_main_env OPTIONAL, dsm_parmacs_private_globals OPTIONAL;
extern const char __asan_init OPTIONAL, __tsan_init OPTIONAL, __msan_init OPTIONAL;
/* clang's --coverage has no __gcov_init. */
extern const char __gcov_init OPTIONAL, __gcov_reset OPTIONAL, __llvm_profile_runtime OPTIONAL;

int __real_main(int argc, char **argv, char **envp);
int __wrap_main(int argc, char **argv, char **envp);

int __wrap_main(int argc, char **argv, char **envp)
{
    unsigned flags = 0;
    flags |= &dsm_parmacs_main_env ? DSM_PROGRAM_PARMACS : 0;
    flags |= &dsm_parmacs_private_globals ? DSM_PROGRAM_PRIVATE : 0;
    flags |= &__asan_init ? DSM_PROGRAM_ASAN : 0;
    flags |= &__tsan_init ? DSM_PROGRAM_TSAN : 0;
    flags |= &__msan_init ? DSM_PROGRAM_MSAN : 0;
    flags |= &__gcov_init || &__gcov_reset ? DSM_PROGRAM_GCOV : 0;
    flags |= &__llvm_profile_runtime ? DSM_PROGRAM_PROFILE : 0;
    return dsm_program_run(flags, argc, argv, envp, __real_main);
}
