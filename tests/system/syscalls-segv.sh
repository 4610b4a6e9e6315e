#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The matrix of system calls on shared memory over the trap segv.
SYSCALLS_TRAPS=segv exec "$(dirname "$0")/syscalls.sh" "$@"
