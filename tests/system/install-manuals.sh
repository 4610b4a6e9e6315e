#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The manuals format without a warning and cover every public function, error and variable.
set -eu
src=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
failures=0

complain() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

for page in libdsm/dsm.3 libdsm/dsm.7 dsmrun/dsmrun.1 dsmd/dsmd.8 report/dsm-report.1 dsm_info/dsm_info.1 dsmtop/dsmtop.1 dsmcc/dsmcc.1 compat/dsm-jia.3 compat/dsm-tmk.3; do
    if [ ! -f "$src/$page" ]; then
        complain "$page is missing"
    elif command -v groff >/dev/null; then
        warnings=$(groff -man -ww -z -Tutf8 "$src/$page" 2>&1)
        [ -z "$warnings" ] || complain "$page: $warnings"
        rows=$(groff -man -Tutf8 "$src/$page" | wc -l)
        [ "$rows" -gt 30 ] || complain "$page: formats to $rows lines"
    fi
done
command -v groff >/dev/null || echo "no groff: the pages were not formatted"

for name in $(grep -oE '\b(dsm_[a-z0-9_]+)\(' "$src/libdsm/include/dsm/dsm.h" | tr -d '(' | sort -u); do
    grep -q "$name\\b" "$src/libdsm/dsm.3" || complain "dsm(3) does not mention $name"
done
for name in $(sed -n 's/^ *XX(\([A-Z]*\), [0-9]*,.*/\1/p' "$src/libdsm/include/dsm/dsm.h"); do
    grep -qx ".B DSM_E_$name" "$src/libdsm/dsm.3" || complain "dsm(3) does not list DSM_E_$name"
done
for page in jia:jia.h tmk:Tmk.h; do
    for name in $(grep -oE '\b(jia_[a-z0-9_]+|jia(pid|hosts)|Tmk_[a-z_]+)\b' "$src/compat/include/dsm/${page#*:}" | sort -u); do
        case $name in jia_i_) continue ;; esac
        grep -q "$name\b" "$src/compat/dsm-${page%:*}.3" || complain "dsm-${page%:*}(3) does not mention $name"
    done
done
# Variables that the code reads, by name in quotes.
variables=$(grep -rhoE '"DSM_[A-Z_]+"' "$src"/libdsm --include=*.c | tr -d '"' | grep -v '^DSM_E_' | sort -u)
[ -n "$variables" ] || complain "found no environment variable in the sources"
for name in $variables; do
    grep -q "$name" "$src/libdsm/dsm.7" || complain "dsm(7) does not mention $name"
done
# Flags, as --help has them.
for program in dsmrun/dsmrun.1 dsmd/dsmd.8 report/dsm-report.1 dsm_info/dsm_info.1 dsmtop/dsmtop.1 dsmcc/dsmcc.1; do
    flags=$(./"${program%.?}" --help | grep -oE '^ +(-[a-z], N +)?--[a-z-]+|--[a-z]+-[a-z-]+' | grep -oE '\-\-[a-z-]+' | sort -u)
    [ -n "$flags" ] || complain "${program%.?} --help shows no flag"
    for flag in $flags; do
        sed 's/\\-/-/g' "$src/$program" | grep -qe "$flag\b" || complain "$program does not mention $flag"
    done
done
# Every macro of the macro file.
for name in $(sed -n 's/^define(\([A-Z0-9_]*\),.*/\1/p' "$src/share/dsm/parmacs.m4"); do
    case $name in
    ENV | *TRACE_O* | *_SIM_O* | *_SCHED_O* | AUG_O* | AUG_SET* | SPLASH3* | ST_LOG | SET_HOME | NEWPROC | RESET_* | \
        ALLOCATE_* | ADEC | AINIT | PROBEND | BARINCLUDE | BAREXCLUDE | NLOCK* | NUNLOCK | NU_GS* | NU_GET*) ;;
    *) grep -qw "$name" "$src/dsmcc/dsmcc.1" || complain "dsmcc(1) does not mention $name" ;;
    esac
done
exit $((failures != 0))
