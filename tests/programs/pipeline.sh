#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# pipeline.sh LINES: several programs at once, each of them large.
export LC_ALL=C
awk -v n="$1" 'BEGIN { x = 1; for (i = 0; i < n; i++) {
        x = (x * 69069 + 5) % 4294967296; printf "%010d %d %032d\n", x, i, x } }' |
    sort -S 96M |
    python3 -c '
import sys
lines = [l.split() for l in sys.stdin]
lines.sort(key=lambda f: int(f[1]))
for a, b, c in lines:
    print(a[::-1], b)
' |
    sort -S 64M -k2,2n | cksum
