#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# unit.sh UNIT: rmemd.service is well formed and shut in; at most 2.0 by the marks of
# `systemd-analyze security`. Takes the protection away and looks that it is missed.
set -eu
unit=$1
max=20 # tenths
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not installed"; exit 77; }
tmp=$(mktemp -d /var/tmp/rmem-unit.XXXXXX)
trap 'rm -rf "$tmp"' EXIT

security() { systemd-analyze security --offline=true --no-pager --threshold=$max "$1"; }

if ! security "$unit" >"$tmp/report" 2>&1; then
    if ! grep -q 'Overall exposure' "$tmp/report"; then
        echo "systemd-analyze can't judge a file here:"
        cat "$tmp/report"
        exit 77
    fi
    grep -v '✓' "$tmp/report"
    exit 1
fi
grep 'Overall exposure' "$tmp/report"

# What needs what: rmemd tells systemd, root must not be nobody, TCP, slabs.
for line in Type=notify LimitMEMLOCK=infinity DynamicUser=yes RuntimeDirectory=rmem \
    'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6'; do
    grep -qxF "$line" "$unit" || { echo "$line is missing"; exit 1; }
done
! grep -qE '^(PrivateUsers=yes|ProcSubset=pid|PrivateNetwork=yes)' "$unit" || {
    echo "shut in too far: see the comments of the unit"
    exit 1
}

# Names and values. The program need not be installed, nor the pages.
sed 's,^ExecStart=[^ ]*,ExecStart=/bin/true,; /^Documentation=/d' "$unit" >"$tmp/rmemd.service"
systemd-analyze verify "$tmp/rmemd.service" >"$tmp/verify" 2>&1 || true
if grep "$tmp/rmemd.service" "$tmp/verify"; then
    exit 1
fi

grep -vE '^(Protect|Restrict|SystemCall|Private|CapabilityBounding)' "$unit" >"$tmp/bare.service"
if security "$tmp/bare.service" >/dev/null 2>&1; then
    echo "a unit without protection passes too"
    exit 1
fi
