#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# From a fresh clone on a bare machine to a running job, or to passed tests, in one command each.
# Everything is built below _build (DSM_BUILD_DIR moves it); the source tree gets autoconf's output
# and nothing else.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build_root=${DSM_BUILD_DIR:-$top/_build}
fuzz_seconds=10
# Lanes of `test`, in their order.
all_lanes="gcc clang asan tsan fuzz distcheck roce"

usage() {
    cat <<END
usage: deploy/quickstart.sh run [--ranks N,...] [--no-setup]
       deploy/quickstart.sh roce [--ranks N,...] [--no-setup]
       deploy/quickstart.sh test [--only LANE,...] [--no-setup]
  run         sets up, builds, and runs PageRank over this machine's Debian packages and a blocked
              LU on ranks of this machine over TCP; ends with a table
  roce        the same jobs over Soft-RoCE: on this machine's RDMA device where it has one, else in a
              virtual machine (smaller inputs)
  test        sets up, builds, and passes the whole test suite; ends with the totals
  --ranks     how many ranks, once each (1,2,4)
  --only      just these lanes of the suite; of: $all_lanes
  --no-setup  do not look for missing packages
Builds below \$DSM_BUILD_DIR, now $build_root
END
}

die() {
    echo "quickstart: $*" >&2
    exit 1
}

bad_usage() {
    echo "quickstart: $*" >&2
    exit 2
}

say() {
    printf '\n== %s\n' "$*"
}

command=
setup=yes
lanes=$all_lanes
rank_counts="1 2 4"
while [ $# -gt 0 ]; do
    case $1 in
    run | roce | test)
        [ -z "$command" ] || bad_usage "two commands, '$command' and '$1'; give one"
        command=$1
        ;;
    --only)
        [ $# -ge 2 ] || bad_usage "--only needs a list of lanes; of: $all_lanes"
        lanes=${2//,/ }
        shift
        ;;
    --ranks)
        [ $# -ge 2 ] || bad_usage "--ranks needs a list of numbers, such as 1,2,4"
        rank_counts=${2//,/ }
        shift
        ;;
    --no-setup) setup=no ;;
    -h | --help) usage; exit 0 ;;
    *) bad_usage "unknown argument '$1'; try --help" ;;
    esac
    shift
done
[ -n "$command" ] || bad_usage "no command; allowed are run, roce and test (try --help)"
for lane in $lanes; do
    case " $all_lanes " in
    *" $lane "*) ;;
    *) bad_usage "unknown lane '$lane'; allowed are: $all_lanes" ;;
    esac
done

for n in $rank_counts; do
    [[ $n =~ ^[1-9][0-9]{0,3}$ ]] || bad_usage "--ranks: '$n' is not a number from 1 to 9999"
done
[ -n "$rank_counts" ] || bad_usage "--ranks needs a list of numbers, such as 1,2,4"

# The caller's job, test filters or compiler flags must not leak into what is built and tested here.
for name in $(compgen -e | grep -E '^(DSM_|CK_)' || true); do
    unset "$name"
done
unset MAKEFLAGS MFLAGS TESTS DESTDIR || true

jobs=$(nproc)
mkdir -p "$build_root" 2>/dev/null || die "cannot make $build_root: point DSM_BUILD_DIR elsewhere"
[ -w "$top" ] || die "cannot write to $top as $(id -un): clone it where you may write"

# For somebody who watches a terminal: how long a step has taken, and its last line of output.
show_progress() {
    local start=$SECONDS line
    while sleep 1; do
        line=$(tail -n 1 "$1" 2>/dev/null | tr -c '[:print:]' ' ')
        printf '\r%5d s  %.60s\033[K' $((SECONDS - start)) "$line"
    done
}

# Runs a step with its output in a file, which is shown only when the step fails.
quietly() {
    local log=$1 shower= status=0
    shift
    if [ -t 1 ]; then
        : >"$log"
        show_progress "$log" &
        shower=$!
    fi
    "$@" >"$log" 2>&1 || status=$?
    if [ -n "$shower" ]; then
        kill "$shower" 2>/dev/null || true
        wait "$shower" 2>/dev/null || true
        printf '\r\033[K'
    fi
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$log"
        echo "-- all of it: $log"
        return 1
    fi
}

prepare() {
    [ "$setup" = no ] || "$top/deploy/setup.sh" "$1" || exit 1
    cd "$top"
    if [ ! -x configure ] || [ configure.ac -nt configure ] || [ Makefile.am -nt Makefile.in ]; then
        say "autoreconf"
        quietly "$build_root/autoreconf.log" autoreconf -fi || die "autoreconf failed"
    fi
}

# build NAME CONFIGURE-ARGUMENT...: configures and builds the product.
build() {
    local dir=$build_root/$1
    shift
    mkdir -p "$dir"
    # VAR=value after configure's name is recorded there, so that a re-run of configure keeps it.
    if [ "$(cat "$dir/configured" 2>/dev/null)" != "$*" ] || [ ! -f "$dir/Makefile" ]; then
        rm -f "$dir/configured"
        (cd "$dir" && quietly configure.log "$top/configure" -q "$@") || return 1
        echo "$*" >"$dir/configured"
    fi
    quietly "$dir/make.log" make -C "$dir" -j"$jobs" all
}

# build_tests NAME: and the test programs; check with an empty list of tests builds them.
build_tests() {
    quietly "$build_root/$1/make-tests.log" make -C "$build_root/$1" -j"$jobs" check TESTS=
}

# tests_of NAME PATTERN [BUT]: the tests whose path matches, on one line.
tests_of() {
    make -s -C "$build_root/$1" print-tests | grep -E "$2" | grep -vE "${3:-^$}" | paste -sd ' ' || true
}

total_passed=0 total_failed=0 total_skipped=0
lane_lines=()

# account LANE SECONDS PASSED FAILED SKIPPED WHAT
account() {
    total_passed=$((total_passed + $3))
    total_failed=$((total_failed + $4))
    total_skipped=$((total_skipped + $5))
    lane_lines+=("$(printf '%-10s %5d s  %6d passed  %4d failed  %4d skipped  %s' "$@")")
}

# run_tests NAME JOBS TESTS: make check of these, so many at a time; adds to the lane's log.
run_tests() {
    local dir=$build_root/$1 status
    [ -n "$3" ] || return 0
    make -C "$dir" -j"$2" check "TESTS=$3" 2>&1 </dev/null | tee -a "$dir/check.log" |
        grep --line-buffered -E '^(PASS|FAIL|ERROR|SKIP|XFAIL|XPASS): '
    status=${PIPESTATUS[0]}
    if [ "$status" -ne 0 ]; then
        cat "$dir/test-suite.log" 2>/dev/null || tail -n 40 "$dir/check.log"
    fi
    return "$status"
}

# check_lane NAME START WHAT [PATTERN]: runs the lane's tests, or those whose path matches, and counts
# what ran. Programs that only compute run beside each other, one for each processor; the others one
# after the other: they start ranks, threads and daemons of their own.
check_lane() {
    local name=$1 start=$2 what=$3 dir=$build_root/$1 status=0 passed failed skipped
    local pattern=${4:-.} computing='^tests/(unit|sim|explore|fuzz)/'
    find "$dir" -name '*.trs' -delete
    : >"$dir/check.log"
    # shellcheck disable=SC2046
    run_tests "$name" "$jobs" "$(printf '%s\n' $(tests_of "$name" "$pattern") | grep -E "$computing" | paste -sd ' ')" ||
        status=$?
    run_tests "$name" 1 "$(tests_of "$name" "$pattern" "$computing")" || status=$?
    read -r passed failed skipped <<<"$("$top/deploy/count-tests.sh" "$dir")"
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
    elif [ "$passed" -eq 0 ]; then
        echo "lane $name passed no test: counted as a failure"
        failed=1
    fi
    account "$name" $((SECONDS - start)) "$passed" "$failed" "$skipped" "$what"
}

lane_gcc() {
    local start=$SECONDS
    build gcc CC=gcc --enable-werror && build_tests gcc || return 1
    check_lane gcc "$start" "every test"
}

lane_clang() {
    local start=$SECONDS
    build clang CC=clang --enable-werror && build_tests clang || return 1
    account clang $((SECONDS - start)) 1 0 0 "everything built without a warning"
}

# sanitized NAME KIND PATTERN WHAT
sanitized() {
    local start=$SECONDS
    build "$1" CC=gcc --enable-sanitizers="$2" && build_tests "$1" || return 1
    check_lane "$1" "$start" "$4" "$3"
}

lane_asan() {
    sanitized asan address '^tests/(unit|sim|conformance|fuzz)/' "unit, simulator, conformance, fuzz"
}

# Not trap_uffd, whose faults go from thread to thread through the kernel, unseen by TSan, and not
# the in-process transports of the tests, in whose hand-shake TSan reports a race. Real jobs are those
# with many threads in a rank.
lane_tsan() {
    sanitized tsan thread \
        '^tests/(unit/|conformance/(net_tcp|trap_sigbus|trap_segv)$|system/(threads|sync)\.sh$)' \
        "unit, TCP, sigbus, segv, jobs of many threads"
}

# fuzz_one TARGET: from its valid inputs, for some seconds.
fuzz_one() {
    local dir=$build_root/fuzz name
    name=$(basename "$1")
    rm -rf "$dir/corpus/$name" "$dir/$name.passed"
    mkdir -p "$dir/corpus/$name"
    if "$1" --write-seeds "$dir/corpus/$name" && (cd "$dir" && quietly "$name.log" timeout 120 "$1" \
        -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 "corpus/$name"); then
        echo "PASS: $name"
        touch "$dir/$name.passed"
    else
        echo "FAIL: $name: the input is in $dir (crash-*, timeout-* or oom-*)"
    fi
}

# One target for each processor at a time.
lane_fuzz() {
    local start=$SECONDS dir=$build_root/fuzz target name passed=0 failed=0 runs=0 done
    local targets=()
    build fuzz CC=clang --enable-werror --enable-fuzzers && build_tests fuzz || return 1
    for target in "$dir"/tests/fuzz/fuzz_*[!.]?; do
        case $target in
        *.o | *.log) continue ;;
        esac
        targets+=("$target")
        [ "${#targets[@]}" -le "$jobs" ] || wait -n
        fuzz_one "$target" &
    done
    wait
    for target in "${targets[@]}"; do
        name=$(basename "$target")
        [ -f "$dir/$name.passed" ] && passed=$((passed + 1)) || failed=$((failed + 1))
        done=$(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/$name.log" 2>/dev/null)
        runs=$((runs + ${done:-0}))
    done
    [ "$passed" -gt 0 ] || failed=$((failed + 1))
    account fuzz $((SECONDS - start)) "$passed" "$failed" 0 "$runs inputs"
}

# The tarball, built and installed away from its sources, with the tests that are quick.
lane_distcheck() {
    local start=$SECONDS
    build gcc CC=gcc --enable-werror || return 1
    quietly "$build_root/distcheck.log" make -C "$build_root/gcc" -j"$jobs" distcheck \
        DISTCHECK_CONFIGURE_FLAGS=--enable-werror \
        TESTS="$(tests_of gcc '^tests/(unit/|fuzz/|system/(quickstart|install))')" || return 1
    account distcheck $((SECONDS - start)) 1 0 0 "make distcheck"
}

# In virtual machines with Debian's kernels and Soft-RoCE: what the gcc lane built. A machine that
# does not start is a failure, not a skip.
lane_roce() {
    local start=$SECONDS passed failed
    build gcc CC=gcc --enable-werror && build_tests gcc || return 1
    export DSM_VM_DIR=$build_root/vm
    "$top/tests/vm/vm.sh" fetch || return 1
    (cd "$build_root/gcc" && "$top/tests/vm/roce.sh") 2>&1 | tee "$build_root/roce.log" || true
    unset DSM_VM_DIR
    read -r passed failed <<<"$(sed -n 's/^roce: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$build_root/roce.log")"
    [ -n "$failed" ] || return 1
    account roce $((SECONDS - start)) "$passed" "$failed" 0 "over Soft-RoCE, kernels 6.12 and 6.1"
}

command_test() {
    local lane start
    prepare test
    for lane in $lanes; do
        say "lane $lane"
        start=$SECONDS
        if ! "lane_$lane"; then
            echo "lane $lane failed"
            account "$lane" $((SECONDS - start)) 0 1 0 "failed before its tests"
        fi
    done
    say "lanes, after $((SECONDS / 60)) min $((SECONDS % 60)) s on $jobs processors"
    printf '%s\n' "${lane_lines[@]}"
    echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
    [ "$total_failed" -eq 0 ]
}

# field NAME LINE: the value of NAME=value in a result line.
field() {
    sed -n "s/.* $1=\([^ ]*\).*/\1/p" <<<"$2"
}

table=()
all_verified=yes
transport=tcp

# measure PROGRAM ARGUMENT...: sequentially, then on each number of ranks; adds rows to the table.
measure() {
    local dir=$build_root/run program=$1 n line out baseline= checksum= speedup verified
    shift
    for n in sequential $rank_counts; do
        out=$build_root/run/$program.$n.out
        if [ "$n" = sequential ]; then
            say "$program, sequential"
            "$dir/examples/$program" --sequential "$@" >"$out" || true
        else
            say "$program on $n ranks"
            "$dir/dsmrun/dsmrun" -n "$n" --transport "$transport" "$dir/examples/$program" "$@" >"$out" ||
                true
        fi
        grep -v '^result ' "$out" || true
        line=$(grep '^result ' "$out" || true)
        if [ -z "$line" ]; then
            table+=("$program|-|$n|-|-|-|-|no")
            all_verified=no
            continue
        fi
        if [ "$n" = sequential ]; then
            baseline=$(field seconds "$line") checksum=$(field checksum "$line")
        fi
        verified=$(field verified "$line")
        [ "$(field checksum "$line")" = "$checksum" ] || verified=no
        [ "$verified" = yes ] || all_verified=no
        speedup=$(awk -v a="${baseline:-0}" -v b="$(field seconds "$line")" \
            'BEGIN { printf("%.2f", b > 0 ? a / b : 0) }')
        table+=("$program|$(field input "$line")|$n|$(field seconds "$line")|$speedup|$(
            field faults "$line")|$(awk -v b="$(field bytes "$line")" \
            'BEGIN { printf "%.1f", b / 1e6 }')|$verified")
    done
}

print_table() {
    say "time in seconds; speed-up over the sequential program; faults and MB over all ranks"
    {
        echo "program|input|ranks|time|speed-up|faults|MB moved|verified"
        printf '%s\n' "${table[@]}"
    } | awk -F'|' '{ printf "%-9s %-22s %10s %9s %9s %9s %9s  %s\n", $1, $2, $3, $4, $5, $6, $7, $8 }'
    [ "$all_verified" = yes ] || die "not every result was verified"
}

command_run() {
    prepare run
    say "building in $build_root/run"
    build run || die "the build failed"
    measure pagerank
    measure lu -n 2048 -b 64
    print_table
}

# Where there is a device that works: the machine's own, or in the guest.
measure_roce() {
    transport=rdma
    "$build_root/run/dsm_info/dsm_info" | sed -n '/^RDMA devices/,/^$/p'
    measure pagerank -e "$1"
    measure lu -n "$2" -b 32
    print_table
}

command_roce() {
    if [ "${QUICKSTART_GUEST:-}" = yes ]; then
        measure_roce 3 256
        return
    fi
    prepare run
    say "building in $build_root/run"
    build run || die "the build failed"
    if "$build_root/run/dsm_info/dsm_info" | grep -Eq '^  rdma +yes'; then
        measure_roce 10 2048
        return
    fi
    say "no RDMA device here: a virtual machine with Soft-RoCE"
    [ "$setup" = no ] || "$top/deploy/setup.sh" vm || exit 1
    DSM_VM_DIR=$build_root/vm "$top/tests/vm/vm.sh" run --timeout 1200 "QUICKSTART_GUEST=yes $(
        printf '%q ' env "DSM_BUILD_DIR=$build_root" "$top/deploy/quickstart.sh" roce --no-setup \
            --ranks "${rank_counts// /,}")"
}

"command_$command"
