#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# build.sh SOURCE: the Debian packages are built in a copy of the
# source, judged by lintian, installed, used and purged. Installing happens in a root
# that lies over this machine's as an overlay in a mount namespace of its own: the
# machine is not touched, whatever happens, and all of it is gone with the process.
set -euo pipefail
src=$(cd "$1" && pwd)

skip() { echo "skipped: $*"; exit 77; }
for tool in dpkg-buildpackage dh scdoc lintian; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done

tmp=$(mktemp -d /var/tmp/rmem-packaging.XXXXXX)
trap 'rm -rf "$tmp"' EXIT
say() { printf '%3d s  %s\n' "$SECONDS" "$*"; }

# What git tracks or would; of an archive, everything but builds.
mkdir "$tmp/rmem"
if git -C "$src" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git -C "$src" ls-files -z -co --exclude-standard |
        while IFS= read -r -d '' f; do [ ! -e "$src/$f" ] || printf '%s\0' "$f"; done |
        tar -C "$src" --null -T - -cf - | tar -C "$tmp/rmem" -xf -
else
    tar -C "$src" --exclude='./build*' -cf - . | tar -C "$tmp/rmem" -xf -
fi

version=$(sed -nE 's/^project\(rmem VERSION ([0-9.]+).*/\1/p' "$src/CMakeLists.txt")
packaged=$(dpkg-parsechangelog -l "$tmp/rmem/debian/changelog" -S Version)
[ "$packaged" = "$version" ] || { echo "debian/changelog: $packaged, CMake: $version"; exit 1; }

export DEB_BUILD_OPTIONS=${DEB_BUILD_OPTIONS:-parallel=$(nproc) noautodbgsym}
if ! (cd "$tmp/rmem" && dpkg-buildpackage -us -uc -b) >"$tmp/log" 2>&1; then
    tail -n 40 "$tmp/log"
    exit 1
fi
rmem=$tmp/rmem_${version}_amd64.deb rmemd=$tmp/rmemd_${version}_amd64.deb
say "built $(cd "$tmp" && echo ./*.deb)"

lintian --fail-on error,warning --info "$tmp"/*.changes || exit 1
say "lintian has nothing to say against it"

# The agent's code is as position-independent with the distribution's flags.
code=$(find "$tmp/rmem" -name librmem_client.a)
"$src/tests/capture/agent_code.sh" "$code"

if [ "$(id -u)" -ne 0 ] || ! unshare -m true 2>/dev/null; then
    mkdir "$tmp/x"
    dpkg -x "$rmem" "$tmp/x" && dpkg -x "$rmemd" "$tmp/x"
    "$tmp/x/usr/bin/rmem" --version && "$tmp/x/usr/bin/rmemd" --version
    man -M "$tmp/x/usr/share/man" rmem | grep -q 'run programs on more memory'
    say "unpacked and run; not installed: no right to mount"
    exit 0
fi
mkdir "$tmp/overlay"
rc=0
unshare -m --propagation private "$src/tests/packaging/install.sh" "$tmp/overlay" "$rmem" \
    "$rmemd" || rc=$?
say "installed, used and purged: status $rc"
exit $rc
