#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every example runs on one process alone and on several ranks, with the right result; the same
# result where it does not depend on the number of ranks; and refuses what makes no sense.
set -u
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
bin=$PWD/examples
dsmrun=$PWD/dsmrun/dsmrun
sample=$src/tests/system/packages.sample
failures=0
for name in $(compgen -e | grep '^DSM_' || true); do
    unset "$name"
done

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# gives PATTERN COMMAND...: status 0, and a line of the output matches.
gives() {
    local pattern=$1 out status=0
    shift
    out=$("$@" </dev/null) || status=$?
    if [ "$status" -ne 0 ] || ! grep -qE "$pattern" <<<"$out"; then
        fail "${*#"$PWD/"}: status $status, no '$pattern' in: $out"
    else
        echo "ok: ${*#"$PWD/"}"
    fi
    last=$out
}

# refuses PATTERN COMMAND...: one line on stderr that matches, and a failure, within a second or so.
refuses() {
    local pattern=$1 out status=0
    shift
    out=$(timeout 20 "$@" 2>&1 >/dev/null </dev/null) || status=$?
    if [ "$status" -eq 0 ] || [ "$status" -eq 124 ] || ! grep -qE "$pattern" <<<"$out"; then
        fail "${*#"$PWD/"}: status $status, said: $out; expected '$pattern'"
    else
        echo "ok: refused: ${*#"$PWD/"}"
    fi
}

# same PROGRAM ARGUMENT...: what was printed last has the checksum of the sequential program, and of
# three threads.
same() {
    local program=$1 sum mode
    shift
    sum=$(sed -n 's/.*checksum=//p' <<<"$last")
    for mode in --sequential "--threads 3"; do
        # shellcheck disable=SC2086
        [ "$("$bin/$program" $mode "$@" | sed -n 's/.*verified=yes.*checksum=//p')" = "$sum" ] ||
            fail "$program: another result than with $mode"
    done
}

for n in 0 1 2 3; do
    on=("$dsmrun" -n "$n")
    [ "$n" -ne 0 ] || on=()
    ranks=$((n == 0 ? 1 : n))
    gives "^hello from rank $((ranks - 1)) of $ranks," ${on[@]+"${on[@]}"} "$bin/hello"
    [ "$(wc -l <<<"$last")" -eq "$ranks" ] || fail "hello on $ranks ranks printed: $last"
    gives "locked $((ranks * 600)), atomic $((ranks * 600)), .* right$" \
        ${on[@]+"${on[@]}"} "$bin/counter" -t 3 -r 200
    gives "mixed looks 0: right$" ${on[@]+"${on[@]}"} "$bin/readers"
    gives "sold 60 for 180: right$" ${on[@]+"${on[@]}"} "$bin/workshop"
    gives ": all as produced$" ${on[@]+"${on[@]}"} "$bin/pipeline" -t 2 -i 100
    gives "^result name=lu input=n192,b16 ranks=$ranks .* verified=yes" \
        ${on[@]+"${on[@]}"} "$bin/lu" -n 192 -b 16
    [ "$(sed -n 's/.*checksum=//p' <<<"$last")" = "$(
        "$bin/lu" --sequential -n 192 -b 16 | sed -n 's/.*checksum=//p')" ] ||
        fail "lu on $ranks ranks: another result than the sequential one"
    gives "^result name=stencil input=n62,i7 ranks=$ranks .* verified=yes residual=0 " \
        ${on[@]+"${on[@]}"} "$bin/stencil" -n 62 -i 7
    gives "^result name=fft input=m64 ranks=$ranks .* verified=yes" ${on[@]+"${on[@]}"} "$bin/fft" -m 64
    same fft -m 64
    gives "^result name=radix input=n30001 ranks=$ranks .* verified=yes" ${on[@]+"${on[@]}"} "$bin/radix" -n 30001
    same radix -n 30001
    gives "^result name=nbody input=n301,i2 ranks=$ranks .* verified=yes" ${on[@]+"${on[@]}"} "$bin/nbody" -n 301 -i 2
    same nbody -n 301 -i 2
    gives "^result name=water input=n30,i5 ranks=$ranks .* verified=yes" ${on[@]+"${on[@]}"} "$bin/water" -n 30 -i 5
    gives "^result name=pagerank input=debian,7,8 ranks=$ranks .* verified=yes" \
        ${on[@]+"${on[@]}"} "$bin/pagerank" "$sample"
done
# More ranks than rows, tiles, keys, bodies, molecules or packages.
gives "verified=yes" "$dsmrun" -n 5 "$bin/fft" -m 2
gives "verified=yes" "$dsmrun" -n 5 "$bin/radix" -n 3
gives "verified=yes" "$dsmrun" -n 5 "$bin/nbody" -n 2 -i 3
gives "verified=yes" "$dsmrun" -n 5 "$bin/water" -n 1 -i 3
gives "verified=yes" "$bin/water" --threads 4 -n 30 -i 5
gives "verified=yes" "$dsmrun" -n 5 "$bin/stencil" -n 2 -i 3
gives "verified=yes" "$dsmrun" -n 5 "$bin/lu" -n 8 -b 8
gives "verified=yes" "$dsmrun" -n 9 "$bin/pagerank" "$sample"
# Tiles smaller than a page, and a size that is no power of two.
gives "verified=yes" "$dsmrun" -n 4 "$bin/lu" -n 60 -b 5
gives "verified=yes" "$bin/lu" --sequential -n 60 -b 5
gives "verified=yes" "$bin/stencil" --sequential -n 62 -i 7
gives "verified=yes" "$bin/pagerank" --sequential "$sample"

# The sample: app -> lib-a, lib-c (the first alternative there is), both mailers (providers of
# mail-agent), tool; lib-a -> base once; lib-c -> base; mailer-one -> lib-a. Unmet: gone, and what
# tool wants. The second app does not count.
gives "^7 packages, 8 dependencies \(2 unmet\) from 1 list" "$bin/pagerank" "$sample"
gives "^  1  0\.[0-9]*  base$" "$bin/pagerank" "$sample"
gives "^  2  0\.[0-9]*  lib-a$" "$bin/pagerank" "$sample"
# A ring of three: a third each.
ring=$(mktemp)
trap 'rm -f "$ring" "$ring.xz"' EXIT
printf 'Package: a\nDepends: b\n\nPackage: b\nDepends: c\n\nPackage: c\nDepends: a' >"$ring"
gives "^  3  0\.333333  [abc]$" "$dsmrun" -n 2 "$bin/pagerank" "$ring"
if command -v xz >/dev/null && [ -x /usr/lib/apt/apt-helper ]; then
    xz -k "$ring"
    gives "^3 packages, 3 dependencies" "$dsmrun" -n 2 "$bin/pagerank" "$ring.xz"
    head -c 40 "$ring.xz" >"$ring" && mv "$ring" "$ring.xz"
    refuses "cannot read the package list .*\.xz" "$bin/pagerank" "$ring.xz"
fi
# This machine's own packages.
gives "^result name=pagerank .* verified=yes" "$dsmrun" -n 2 "$bin/pagerank" /var/lib/dpkg/status

refuses "lu: -n 100 is not a multiple of -b 32" "$bin/lu" -n 100
refuses "lu: -n -5: expected a number from 1 to 65536" "$bin/lu" -n -5
refuses "lu: -b 0: expected a number" "$bin/lu" -b 0
refuses "lu: unexpected argument 'x'" "$bin/lu" x
refuses "usage: lu" "$bin/lu" --frob
refuses "fft: -m 48 is not a power of two" "$bin/fft" -m 48
refuses "radix: -n 0: expected a number from 1" "$dsmrun" -n 2 "$bin/radix" -n 0
refuses "water: --threads 0: expected a number from 1" "$bin/water" --threads 0
refuses "nbody: unexpected argument 'x'" "$bin/nbody" x
refuses "usage: fft" "$bin/fft" --frob
refuses "stencil: -n 7 is not even" "$dsmrun" -n 2 "$bin/stencil" -n 7
refuses "stencil: -i 99999999999999999999: expected" "$bin/stencil" -i 99999999999999999999
refuses "pagerank: -e 0: expected a number from 1 to 14" "$bin/pagerank" -e 0
refuses "cannot read the package list /nonexistent: No such file" "$bin/pagerank" /nonexistent
refuses "cannot read the package list /nonexistent: No such file" "$dsmrun" -n 3 "$bin/pagerank" /nonexistent
refuses "no package in the 1 package list read" "$dsmrun" -n 2 "$bin/pagerank" /dev/null
refuses "counter: -t 0: expected" "$bin/counter" -t 0
refuses "pipeline: -i 1x: expected" "$bin/pipeline" -i 1x
exit $((failures != 0))
