#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The set-up scripts answer a wrong call with one clear line and a non-zero exit.
set -u
deploy=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)/deploy
failures=0

# refuses TEXT COMMAND...: the command fails with one line on stderr that has TEXT in it.
refuses() {
    local text=$1 out status=0
    shift
    out=$("$@" 2>&1 >/dev/null </dev/null) || status=$?
    if [ "$status" -eq 0 ] || [ "$(wc -l <<<"$out")" -ne 1 ] || [[ $out != *"$text"* ]]; then
        echo "FAIL: $*: status $status, said: $out; expected one line with: $text"
        failures=$((failures + 1))
    else
        echo "ok: $* -> $out"
    fi
}

refuses "no command" "$deploy/quickstart.sh"
refuses "'frob'" "$deploy/quickstart.sh" frob
refuses "--ranks" "$deploy/quickstart.sh" run --ranks
refuses "'0' is not a number from 1 to 9999" "$deploy/quickstart.sh" run --ranks 2,0
refuses "'two' is not a number" "$deploy/quickstart.sh" run --ranks two
refuses "two commands" "$deploy/quickstart.sh" test test
refuses "'--frob'" "$deploy/quickstart.sh" test --frob
refuses "unknown lane 'nosuch'" "$deploy/quickstart.sh" test --only gcc,nosuch
refuses "--only needs" "$deploy/quickstart.sh" test --only
refuses "DSM_BUILD_DIR" env DSM_BUILD_DIR=/proc/nowhere "$deploy/quickstart.sh" test --no-setup
refuses "'frob'" "$deploy/setup.sh" frob

# A machine without apt-get, and one where packages are missing and nobody may install them.
fake=$(mktemp -d)
trap 'rm -rf "$fake"' EXIT
for tool in bash env echo cat head ls printf; do
    ln -s "$(command -v $tool)" "$fake/$tool"
done
refuses "no apt-get here" env PATH="$fake" bash "$deploy/setup.sh" run
printf '#!/bin/sh\nexit 0\n' >"$fake/apt-get"
printf '#!/bin/sh\nexit 1\n' >"$fake/dpkg-query"
printf '#!/bin/sh\necho 1000\n' >"$fake/id"
chmod +x "$fake"/apt-get "$fake"/dpkg-query "$fake"/id
refuses "needs root or sudo for: apt-get install autoconf" \
    env PATH="$fake" bash "$deploy/setup.sh" run
printf '#!/bin/sh\necho 0\n' >"$fake/id"
printf '#!/bin/sh\nexit 100\n' >"$fake/apt-get"
refuses "apt-get could not install: autoconf" env PATH="$fake" bash "$deploy/setup.sh" run

# With everything there it needs no privilege and calls apt-get for nothing.
printf '#!/bin/sh\necho 1000\n' >"$fake/id"
printf '#!/bin/sh\necho installed\n' >"$fake/dpkg-query"
if ! env PATH="$fake" bash "$deploy/setup.sh" test; then
    echo "FAIL: setup.sh with everything installed"
    failures=$((failures + 1))
fi
exit $((failures != 0))
