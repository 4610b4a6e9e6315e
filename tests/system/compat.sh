#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Programs with the calls of JIAJIA and TreadMarks: right on any number of processes, and one clear
# line for each kind of misuse.
set -u
build=${abs_top_builddir:-$PWD}
dsmrun=$build/dsmrun/dsmrun
examples=$build/examples
tests=$build/tests/system
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in $(compgen -e | grep '^DSM_' || true); do
    unset "$name"
done

# gives STATUS STDOUT-PATTERN STDERR-PATTERN COMMAND...: the patterns are of one line each; an empty one:
# nothing at all.
gives() {
    local status=$1 out=$2 err=$3 got
    shift 3
    timeout -k 5 120 "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    if [ "$got" -ne "$status" ] || ! says "$work/out" "$out" || ! says "$work/err" "$err"; then
        failed=$((failed + 1))
        echo "FAILED: status $got, wanted $status, /$out/ and /$err/: $*"
        sed 's/^/  | /' "$work/out" "$work/err" | tail -n 20
    else
        passed=$((passed + 1))
    fi
}

says() {
    if [ -z "$2" ]; then [ ! -s "$1" ]; else grep -qE "$2" "$1"; fi
}

# misuse PATTERN PROGRAM NAME: on two processes, of which one or both say it.
misuse() {
    gives 1 '' "$1" "$dsmrun" -n 2 "$tests/$2" "$3"
}

for n in 1 2 4; do
    gives 0 "^jia_calls: $n processes: right\$" '' "$dsmrun" -n "$n" "$examples/jia/jia_calls"
    gives 0 "^jia_macros: $n processes: right\$" '' "$dsmrun" -n "$n" "$examples/jia/jia_macros"
    gives 0 "^tmk_calls: $n processes: right\$" '^dsm\[0\]: process 0 says goodbye$' \
        "$dsmrun" -n "$n" "$examples/tmk/tmk_calls"
done
gives 0 '^jia_calls: 1 processes: right$' '' "$examples/jia/jia_calls"
gives 0 '^tmk_calls: 1 processes: right$' 'goodbye' "$examples/tmk/tmk_calls"
# The other traps, and addresses of globals that differ between processes.
for trap in uffd segv; do
    gives 0 'right$' '' env DSM_TRAP=$trap "$dsmrun" -n 2 "$examples/jia/jia_calls"
    gives 0 'right$' 'goodbye' env DSM_TRAP=$trap "$dsmrun" -n 2 "$examples/tmk/tmk_calls"
done
# Options of TreadMarks.
gives 0 'right$' 'faults_read' "$dsmrun" -n 2 "$examples/tmk/tmk_calls" -- -s -n 2
gives 0 'right$' '^dsm\[0\]: -n 3 is ignored: the job has 2 processes; dsmrun -n 3 starts 3$' \
    "$dsmrun" -n 2 "$examples/tmk/tmk_calls" -- -n 3 -h somewhere
gives 7 'got through' '' "$tests/tmk_misuse" status
# An end by one process is the end of all.
gives 1 'right$' 'process 0 ends them all$' "$dsmrun" -n 3 "$examples/jia/jia_calls" --fail
gives 1 'right$' 'process 0 ends them all$' "$dsmrun" -n 3 "$examples/tmk/tmk_calls" -x

# Alone there is no job to end, and no dsmrun that says so.
gives 1 '' '^dsm\[0\]: jia_lock\(65536\): lock ids are' "$tests/jia_misuse" lock-range
gives 1 '' '^dsm\[0\]: Tmk_lock_release\(3\): this process' "$tests/tmk_misuse" release
gives 1 '' '^dsm\[0\]: jia_barrier: called before the start$' "$tests/jia_misuse" before
misuse 'jia_barrier: called before the start$' jia_misuse before
misuse 'jia_alloc: called before the start$' jia_misuse alloc-before
misuse 'jia_init: called a second time$' jia_misuse init-twice
misuse 'jia_lock\(65536\): lock ids are 0 to 65535$' jia_misuse lock-range
misuse 'jia_lock\(-1\): lock ids are 0 to 65535$' jia_misuse lock-negative
misuse 'jia_lock\(3\): this process holds it already$' jia_misuse lock-twice
misuse 'jia_unlock\(3\): this process does not hold it$' jia_misuse unlock
misuse 'jia_exit: 1 lock is held$' jia_misuse exit-locked
misuse 'jia_waitcv\(1024\): condition variables are 0 to 1023$' jia_misuse cv
misuse 'jia_alloc: the size is 0; it must be at least 1$' jia_misuse alloc-zero
misuse 'jia_alloc3: the block is -4096; it must be at least 1$' jia_misuse alloc-block
misuse 'jia_alloc2p: there is no process 2; they are 0 to 1$' jia_misuse alloc-host
misuse 'jia_free\(0x[0-9a-f]*\): not the start of memory' jia_misuse free
misuse 'jia_send: there is no process 2; they are' jia_misuse send
misuse 'jia_send: -1 bytes at' jia_misuse send-length
misuse 'jia_recv: there is no process -2; they are' jia_misuse recv
misuse 'jia_bcast: there is no process -1; they are' jia_misuse bcast
misuse 'jia_reduce: operation 13; allowed are' jia_misuse reduce
misuse 'LOCKINIT: more than 32768 locks$' jia_misuse locks
misuse 'GETSUB: -1 was not made by GSINIT$' jia_misuse subscript
misuse '\]: row 5 is bad$' jia_misuse error
gives 1 '' 'jia_barrier: called with 1 lock held$' "$tests/jia_misuse" barrier-locked
gives 1 '' 'jia_lock: called after the end$' "$tests/jia_misuse" after
gives 1 '' 'dsm_alloc: this rank asked for 12288 bytes' "$dsmrun" -n 2 "$tests/jia_misuse" alloc-differs
gives 1 '' 'jia_alloc: no room for 2147483648 bytes in the region of 67108864: raise DSM_REGION_SIZE$' \
    "$dsmrun" -n 2 --region-size 64M "$tests/jia_misuse" alloc-large
gives 1 '' 'no room for a table of [0-9]* .*: raise DSM_REGION_SIZE$' \
    "$dsmrun" -n 2 --region-size 2M "$tests/jia_misuse" none

misuse 'Tmk_barrier: called before the start$' tmk_misuse before
misuse 'Tmk_malloc: called before the start$' tmk_misuse malloc-before
misuse 'Tmk_startup: called a second time$' tmk_misuse startup-twice
misuse 'Tmk_startup: the program handles SIGIO' tmk_misuse sigio
misuse 'Tmk_lock_acquire\(16384\): locks are 0 to 16383$' tmk_misuse lock-range
misuse 'Tmk_lock_acquire\(3\): this process holds it already$' tmk_misuse lock-twice
misuse 'Tmk_lock_release\(3\): this process does not hold it$' tmk_misuse release
misuse 'Tmk_barrier\(1024\): barriers are 0 to 1023$' tmk_misuse barrier-range
misuse 'Tmk_lock_cond_wait\(1, 16\): conditions are 0 to 15$' tmk_misuse cond-range
misuse 'Tmk_lock_cond_signal\(1, 0\): this process does not hold the lock$' tmk_misuse cond-lock
misuse 'dsm_free\(0x[0-9a-f]*\): no live block starts there' tmk_misuse free
misuse 'Tmk_distribute\(0x[0-9a-f]*, -4\): the size must not be negative' tmk_misuse distribute-negative
misuse '\]: row 5 is bad$' tmk_misuse error
gives 1 '' 'Tmk_distribute\(0x[0-9a-f]*, 4\): only global variables' \
    "$dsmrun" -n 2 "$tests/tmk_misuse" distribute-local
gives 0 'malloc gave NULL' '' env DSM_REGION_SIZE=64M "$tests/tmk_misuse" malloc-large
gives 0 'sbrk gave -1' '' env DSM_REGION_SIZE=64M "$tests/tmk_misuse" sbrk-large

left=$(pgrep -f "^[^ ]*/(lt-)?(jia|tmk)_(calls|macros|misuse)( |\$)" | wc -l) # by the name that libtool gives
[ "$left" -eq 0 ] || { failed=$((failed + 1)); echo "FAILED: $left processes are left behind"; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
