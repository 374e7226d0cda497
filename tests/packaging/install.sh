#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# install.sh DIR RMEM.deb RMEMD.deb: called by build.sh in a mount namespace of its own.
set -euo pipefail
dir=$1 rmem=$2 rmemd=$3

mount -t tmpfs -o size=2G tmpfs "$dir"
mkdir "$dir"/{upper,work,root}
if ! mount -t overlay overlay "$dir/root" \
    -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" 2>/dev/null; then
    echo "skipped: no overlay can be mounted here"
    exit 77
fi
root=$dir/root
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
cp "$rmem" "$rmemd" "$root/tmp"
rm -f "$root/var/lib/man-db/auto-update" # no index of all pages here, for its time
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }
fail() {
    echo "install.sh: $*"
    exit 1
}

if in_root dpkg -s rmem rmemd >/dev/null 2>&1; then
    in_root dpkg -P rmem rmemd
fi

in_root sh -c 'dpkg -i /tmp/rmem_*.deb /tmp/rmemd_*.deb'
in_root getent group rmem || fail "no group rmem"
got=$(in_root getcap /usr/bin/rmem /usr/bin/rmemd)
[ -z "$got" ] || fail "a capability is set: $got"
in_root test ! -e /etc/systemd/system/multi-user.target.wants/rmemd.service ||
    fail "the service is enabled"

in_root rmem --version
in_root rmemd --version
in_root rmem doctor || [ $? -eq 1 ] # this machine may lack something; it is to say so
in_root man rmem | grep -q 'run programs on more memory' || fail "no man rmem"
in_root man 8 rmemd | grep -q "lend this machine's memory" || fail "no man rmemd"
in_root man 7 rmem-protocol | grep -q 'HELLO' || fail "no man rmem-protocol"
in_root env MANWIDTH=500 man rmem | grep -oE '/usr/share/doc/[a-z/.]+md' | sort -u | while read -r f; do
    in_root test -f "$f" || fail "man rmem names $f"
done
in_root bash --norc -c '. /usr/share/bash-completion/completions/rmem && complete -p rmem rmemd'

if in_root rmem doctor --server ram >/dev/null; then
    # a private server, which is the other package's
    job='b = bytearray(96 << 20); b[::4096] = b"\1" * (len(b) >> 12); print(sum(b))'
    got=$(in_root rmem run --local 32M --remote 256M -- python3 -c "$job")
    [ "$got" = 24576 ] || fail "a job said '$got'"
    echo "a job of 96 MiB under 32 MiB: $got"
else
    echo "no job was run: see rmem doctor above"
fi

in_root dpkg -P rmem rmemd
# What was written is in upper. The group stays, as is Debian's custom.
cd "$dir/upper"
left=$(find . -path ./var/cache -prune -o \
    \( -name '*rmem*' -o -path './etc/*' ! -type d \) ! -type c -print |
    grep -vE '^\./etc/((group|gshadow)-?|\.pwd\.lock|ld\.so\.cache)$' || true)
[ -z "$left" ] || fail "left behind by purge: $left"
