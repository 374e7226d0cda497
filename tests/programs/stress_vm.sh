#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# stress_vm.sh BYTES: every method of stress-ng's vm stressor, verified. Prints
# one line for each; what differs from run to run (times, pids) is left out.
bytes=$1
status=0
methods=$(stress-ng --vm 1 --vm-method list 2>&1 | tr ' ' '\n' | grep -E '^[a-z0-9-]+$' |
    grep -vE '^(all|vm-method|must|be|one|of|stress-ng|info|error)$')
[ -n "$methods" ] || { echo "stress-ng names no method"; exit 1; }
for m in $methods; do
    stress-ng --quiet --vm 1 --vm-bytes "$bytes" --vm-method "$m" --vm-ops 1 --verify \
        --timeout 3 --no-rand-seed
    rc=$?
    echo "$m $rc"
    [ $rc -eq 0 ] || status=1
done
exit $status
