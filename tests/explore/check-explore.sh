#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The share of the exploration that make check runs: every state of the quick instances, then each
# planted fault, which must be found. About a minute.
set -eu
here=${top_builddir:-.}/tests/explore
"$here/explore" "$@"
"$here/explore-planted" --plant all --no-trace
