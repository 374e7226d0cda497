#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# alone.sh PROGRAM SOURCE: the job passes without rmem, in both builds, and
# fails when one bit of what it (or a child of it) reads is wrong.
set -u
prog=$1 src=$2 mib=${3:-32}
for p in "$prog" "$prog-static"; do
    timeout 60 "$p" "$mib" </dev/null || { echo "$p failed by itself: status $?"; exit 1; }
done
who=main
grep -q 'JOB_CORRUPT: child' "$src" && who=child
grep -q 'JOB_CORRUPT: none' "$src" && exit 0
JOB_CORRUPT=$who timeout 60 "$prog" "$mib" </dev/null >/dev/null 2>&1
rc=$?
[ "$rc" -eq 1 ] || { echo "$prog did not notice a wrong page in the $who process: status $rc"; exit 1; }
exit 0
