#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# purity.sh LIBRARY: undefined symbols of the core must be mem* or hist_* (or
# abort: a broken invariant stops it). What it defines itself does not count.
set -eu
lib=$1
# the last ones are the compiler's own, and bcmp: clang's word for memcmp() == 0
may='^(mem[a-z]+|bcmp|hist_[a-z0-9_]+|abort|__assert_fail|_GLOBAL_OFFSET_TABLE_|__[a-z]+[dst]i[0-9])$'
defined=$(nm --defined-only "$lib" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
wanted=$(nm -u "$lib" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u)
[ -n "$defined" ] || { echo "no symbols in $lib"; exit 1; }
bad=$(comm -23 <(echo "$wanted") <(echo "$defined") |
    grep -vE "$may" || true)
[ -z "$bad" ] || { echo "the core needs from outside:"; echo "$bad"; exit 1; }
echo "the core needs: $(comm -23 <(echo "$wanted") <(echo "$defined") | tr '\n' ' ')"
