# SPDX-License-Identifier: BSD-3-Clause
# Sourced by the tests of dsmd and dsmrun: what they all need.
# shellcheck shell=bash
set -u
build=${abs_top_builddir:-$PWD}
dsmrun=$build/dsmrun/dsmrun
dsmd=$build/dsmd/dsmd
client=$build/tests/system/dsmd_client
passed=0 failed=0
work=$(mktemp -d)
unset DSM_DAEMON DSM_TOKEN DSM_LISTEN DSM_BASE DSM_JOIN_TIMEOUT DSM_LOG
# Everything this test starts carries this mark in its environment, and is found by it.
export DSM_TEST_MARK="dsm-test-$$-$RANDOM"

fail() {
    failed=$((failed + 1))
    echo "FAILED: $*"
    tail -n 20 "$work/out" "$work/err" 2>/dev/null | cut -c1-300 | sed 's/^/  | /'
}

pass() {
    passed=$((passed + 1))
}

# check WHAT COMMAND...: the command must succeed.
check() {
    local what=$1
    shift
    if "$@"; then pass; else fail "$what: $*"; fi
}

# expect STATUS PATTERN COMMAND...: the exit status, and exactly one line of dsmrun or dsmd on standard
# error, which matches (empty pattern: none).
expect() {
    local status=$1 pattern=$2 got lines
    shift 2
    timeout -k 5 60 "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    lines=$(grep -c '^dsm\(run\|d\): ' "$work/err")
    if [ "$got" -ne "$status" ]; then
        fail "status $got, wanted $status: $*"
    elif [ -z "$pattern" ] && [ "$lines" -ne 0 ]; then
        fail "unexpected messages: $*"
    elif [ -n "$pattern" ] && { [ "$lines" -ne 1 ] || ! grep -Eqe "$pattern" "$work/err"; }; then
        fail "wanted one line and in it /$pattern/: $*"
    else
        pass
    fi
}

# start COMMAND...: in the background, with its output in $work/out and $work/err; $pid.
start() {
    : >"$work/out"
    : >"$work/err"
    "$@" >>"$work/out" 2>>"$work/err" </dev/null &
    pid=$!
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local tries=$(($1 * 50))
    shift
    while ! "$@" 2>/dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.02
    done
}

# The processes that carry our mark, but for this shell and its substitutions.
marked() {
    local dir pid
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        [ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] || continue
        case $(readlink "$dir/exe" 2>/dev/null) in
        */bash | */timeout | '') grep -qz "^DSM_TEST_PART=rank" "$dir/environ" 2>/dev/null || continue ;;
        esac
        if grep -qz "^DSM_TEST_MARK=$DSM_TEST_MARK" "$dir/environ" 2>/dev/null; then echo "$pid"; fi
    done
}

nothing_left() {
    [ -z "$(marked)" ]
}

state_of() {
    sed 's/.*) //; s/ .*//' "/proc/$1/stat"
}

is_state() {
    [ "$(state_of "$1")" = "$2" ]
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null || is_state "$1" Z
}

has_lines() {
    [ "$(wc -l <"$1")" -ge "$2" ]
}

new_token() {
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

end_test() {
    wait_for 10 nothing_left || fail "left behind: $(marked | xargs -r ps -o pid,args -p)"
    local pid
    for pid in $(marked); do kill -9 "$pid" 2>/dev/null; done
    rm -rf "$work"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
