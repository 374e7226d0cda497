# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Sourced by check and quickstart: Debian packages, installed only when missing.

build_packages=(gcc cmake make pkg-config libc6-dev libxxhash-dev libjansson-dev
                libsystemd-dev libnuma-dev liburing-dev libinih-dev libcmocka-dev libncurses-dev
                libmicrohttpd-dev)
demo_packages=(coreutils python3 redis-server redis-tools time)
packaging_packages=(debhelper dpkg-dev lintian libcap2-bin scdoc systemd)
test_packages=(clang clang-format codespell shellcheck stress-ng procps bash-completion
               groff-base man-db "${packaging_packages[@]}" "${demo_packages[@]}")

# need PACKAGE...: installs those that are not there; needs root only then.
need() {
    local missing=() p
    for p in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] ||
            missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages; as root: apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    apt-get -q -y --no-install-recommends install "${missing[@]}"
}
