#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What the library does about how memory is used, between real processes. HINTS_TRAPS overrides over
# which trap backends.
set -u
build=${abs_top_builddir:-$PWD}
dsmrun=$build/dsmrun/dsmrun
hints=$build/tests/system/hints
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset DSM_FETCH_AHEAD DSM_MIGRATORY

# expect PATTERN COMMAND...: status 0, and every line on stderr matches (empty: none).
expect() {
    local pattern=$1
    shift
    if ! timeout -k 5 120 "$@" >"$work/out" 2>"$work/err" ||
        grep -Evq "${pattern:-^\$}" "$work/err"; then
        failed=$((failed + 1))
        echo "FAILED: DSM_TRAP=${DSM_TRAP-} $*"
        sed 's/^/  | /' "$work/out" "$work/err" | tail -n 20
    else
        passed=$((passed + 1))
    fi
}

for t in ${HINTS_TRAPS:-sigbus uffd segv}; do
    export DSM_TRAP=$t
    for n in 2 3; do
        expect '' env DSM_FETCH_AHEAD=0 "$dsmrun" -n $n "$hints" migrate
    done
    expect '' "$dsmrun" -n 3 "$hints" pin
    expect '' env DSM_FETCH_AHEAD=0 "$dsmrun" -n 2 "$hints" prefetch-by
    expect '' env DSM_FETCH_AHEAD=0 "$dsmrun" -n 2 "$hints" advise-migratory
    expect 'called private .dsm_advise.; told once' env DSM_FETCH_AHEAD=0 "$dsmrun" -n 2 \
        "$hints" advise-private
    expect '' env DSM_MIGRATORY=0 "$dsmrun" -n 3 "$hints" migrate-off
done
unset DSM_TRAP
expect '' "$dsmrun" -n 3 "$hints" pin-crossed
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
