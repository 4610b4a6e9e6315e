#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The stack that a fault takes, from the compiler's own count (-fstack-usage): the frames of all
# functions of a backend's fault path together, as if each called the next, within the traps' share
# of the 4 KiB that a handler may use on a thread's 16 KiB. The rest is the driver's.
set -eu
limit=2560
dir=libdsm/trap
[ -d "$dir" ] || { echo "trap_stack: run it in the build directory"; exit 1; }
if grep -q '^DSM_CFLAGS.*-fsanitize=' Makefile; then
    echo "SKIPPED, NOT TESTED: the frames of a sanitizer's build say nothing"
    exit 77
fi

# No part of a fault: opening, attaching, probing; only the handler thread refuses for others.
others='dsm_uffd_(open|try|probe|trap_new|register|attach|detach)|ask_features|say_forbidden'
others="$others|make_budget|segv_(open|attach|detach|close|probe)|dsm_signal_is_blocked"

add_up() { # backend, files
    backend=$1 total=0 n=0
    shift
    for name; do
        # Compilers do not agree on what they call it.
        file=$(find "$dir" -name "*-$name.su" | sort | tail -n 1)
        [ -n "$file" ] || { echo "trap_stack: no count for $name.c: the compiler did not count"; exit 1; }
        if grep -v -E '(static|bounded)$' "$file"; then
            echo "trap_stack: these frames of $name.c have no size known beforehand"
            exit 1
        fi
        bytes=$(grep -v -E ":($others)[[:space:]]" "$file" | awk '{ sum += $2 } END { print sum + 0 }')
        total=$((total + bytes)) n=$((n + $(wc -l <"$file")))
    done
    echo "$backend: $n functions, together $total bytes, allowed $limit"
    [ "$n" -ge 20 ] || { echo "trap_stack: too few functions counted"; exit 1; }
    [ "$total" -le "$limit" ]
}

add_up sigbus handler signals streak views sigbus uffd_ops uffd_calls
add_up segv handler signals streak views segv modes
