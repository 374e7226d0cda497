# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Sourced by check and quickstart: Debian packages, installed only when missing.

build_packages=(gcc clang bpftool cmake make pkg-config libc6-dev libxxhash-dev libjansson-dev
                libbpf-dev libelf-dev zlib1g-dev
                libsystemd-dev libnuma-dev libibverbs-dev librdmacm-dev liburing-dev libinih-dev libcmocka-dev libncurses-dev
                libmicrohttpd-dev)
demo_packages=(coreutils python3 redis-server redis-tools time)
packaging_packages=(debhelper dpkg-dev lintian libcap2-bin scdoc systemd)
# What the suite runs under rmem, beside the demo's.
program_packages=(stress-ng sqlite3 xz-utils python3-numpy openjdk-17-jdk-headless nodejs golang-go
                  postgresql hpcc openmpi-bin)
# What bench/run measures, and what it draws with.
bench_packages=(libopenblas0-pthread python3-matplotlib python3-numpy python3-sklearn redis-server
                sqlite3)
# Virtual machines with soft RDMA devices (tests/vm/run), and what is tried in them.
vm_packages=(qemu-system-x86 busybox-static kmod zstd xz-utils iproute2 ibverbs-providers
             ibverbs-utils rdmacm-utils perftest binutils)
test_packages=(clang-format codespell shellcheck procps bash-completion groff-base man-db
               iproute2 util-linux "${packaging_packages[@]}" "${demo_packages[@]}"
               "${program_packages[@]}" "${vm_packages[@]}")

# The tests start a PostgreSQL of their own: the package shall not start one for good.
install_without_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf

    apt-get -q -y --no-install-recommends install postgresql-common
    cp -p "$conf" "$conf.rmem-saved"
    sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' "$conf"
    apt-get -q -y --no-install-recommends install "$1"
    mv "$conf.rmem-saved" "$conf"
}

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
    [[ " ${missing[*]} " = *" postgresql "* ]] && install_without_cluster postgresql
    apt-get -q -y --no-install-recommends install "${missing[@]}"
}
