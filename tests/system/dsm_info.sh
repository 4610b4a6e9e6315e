#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What dsm_info says is what the machine has, as text and as JSON.
set -u
info=${abs_top_builddir:-$PWD}/dsm_info/dsm_info
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

check() {
    local what=$1
    shift
    if ! "$@" >"$work/check" 2>&1; then
        failed=$((failed + 1))
        echo "FAILED: $what"
        sed 's/^/  | /' "$work/check" "$work/out" "$work/err" 2>/dev/null | tail -n 30
    fi
}

# run STATUS ARGUMENT...
run() {
    local status=$1 got
    shift
    timeout -k 5 60 "$info" "$@" >"$work/out" 2>"$work/err"
    got=$?
    check "dsm_info $*: status $got, wanted $status" [ "$got" -eq "$status" ]
}

run 0
check "nothing on stderr" [ ! -s "$work/err" ]
check "the kernel" grep -qF "kernel $(uname -r)" "$work/out"
for word in Transports 'RDMA devices' Traps userfaultfd Limits; do
    check "a part $word" grep -q "^$word" "$work/out"
done
check "tcp is there" grep -Eq '^  tcp +yes' "$work/out"
check "segv is there" grep -Eq '^  segv +yes' "$work/out"

(ulimit -v 8388608 && ulimit -f 2048 && timeout 60 "$info" >"$work/out" 2>"$work/err")
check "a low RLIMIT_AS" grep -Eq 'RLIMIT_AS +8589934592 +too low' "$work/out"
check "how to raise it" grep -q 'ulimit -v unlimited' "$work/out"
check "a low RLIMIT_FSIZE" grep -Eq 'RLIMIT_FSIZE +2097152 +too low' "$work/out"

run 1 --frob
check "one line for a wrong argument" \
    grep -qx "dsm_info: unknown argument '--frob'; allowed are --json, --version and --help" "$work/err"
check "and no more" [ "$(cat "$work/out" "$work/err" | wc -l)" -eq 1 ]
(timeout 60 "$info" >/dev/full 2>"$work/err")
check "a full disk is an error" grep -q 'cannot write to standard output' "$work/err"

run 0 --json
if command -v jq >/dev/null; then
    check "JSON" jq -e . "$work/out"
    check "this machine" jq -e --arg kernel "$(uname -r)" --argjson n "$(nproc)" \
        '.machine.kernel == $kernel and .machine.processors == $n and .machine.memory_bytes > 0' "$work/out"
    check "transports" jq -e '[.transports[] | .name] == ["rdma", "tcp"] and .transports[1].usable' "$work/out"
    check "a reason for what is not usable" \
        jq -e 'all(.transports[] + .traps[]; .usable or .detail != "")' "$work/out"
    check "traps" jq -e '[.traps[] | .name] == ["sigbus", "uffd", "segv"] and .auto_trap.usable' "$work/out"
    check "limits" jq -e '.limits | length > 5 and all(.enough or .advice != "")' "$work/out"
    check "sigbus needs what userfaultfd has" \
        jq -e '(.traps[0].usable | not) or (.userfaultfd.features | contains(["sigbus", "minor-shmem"]))' "$work/out"
    check "devices as the kernel has them" jq -e --argjson n \
        "$(find /sys/class/infiniband -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" \
        '.rdma_devices | length <= $n' "$work/out"
else
    echo "no jq: the JSON was not read"
fi
[ "$failed" -eq 0 ] && echo "dsm_info says what there is"
exit $((failed > 0))
