#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The matrix of system calls on shared memory over the trap sigbus.
SYSCALLS_TRAPS=sigbus exec "$(dirname "$0")/syscalls.sh" "$@"
