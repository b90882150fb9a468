#!/bin/sh
# Installs packages in the build root, looks which modules each kernel would load, and removes them:
# package-test.sh PACKAGE...
set -eu

kinds=$(for package; do dpkg-deb -f "$package" Package; done | sed 's/^videobuf3-\(.*\)-dkms$/\1/')

export DEBIAN_FRONTEND=noninteractive
dpkg -s dkms >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends dkms
}
for kernel in $(cat /kernels.list); do
    # What an installed kernel has: the stock module where depmod finds it.
    stock=/lib/modules/$kernel/kernel/drivers/media/common/videobuf2
    mkdir -p "$stock"
    for kind in $kinds; do
        cp "/kernels/$kernel/tree/usr$stock/videobuf2-$kind.ko.xz" "$stock/"
    done
    for list in modules.order modules.builtin modules.builtin.modinfo; do
        cp "/kernels/$kernel/tree/usr/lib/modules/$kernel/$list" "/lib/modules/$kernel/"
    done
    depmod "$kernel"
done
# Every kernel must find every module where it is said.
all_in() {
    for kernel in $(cat /kernels.list); do
        for kind in $kinds; do
            found=$(modinfo -k "$kernel" -n "videobuf2-$kind")
            echo "$kernel: $found"
            case $found in
                */$1/*) ;;
                *) exit 1 ;;
            esac
        done
    done
}
dpkg -i "$@"
all_in updates/dkms
# For a machine that boots with what is installed now.
for kernel in $(cat /kernels.list); do
    rm -rf "/work/$kernel/updates"
    mkdir -p "/work/$kernel/updates"
    cp -r "/lib/modules/$kernel/updates/dkms" "/work/$kernel/updates/"
done
for kind in $kinds; do
    dpkg -r "videobuf3-$kind-dkms"
done
all_in kernel/drivers
