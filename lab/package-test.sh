#!/bin/sh
# Installs packages in the build root, checks which modules each kernel would load, and removes them:
#
#   package-test.sh LAB ARCH PACKAGE...
#
# ARCH is a file of lab/arch. For a foreign architecture, the packages' own scripts and dkms still run,
# and a cross compiler builds the modules. depmod's and dkms's data then exist only during the test.
set -eu

arch=$2
. "$1/arch/$arch.sh"
shift 2
kinds=$(for package; do dpkg-deb -f "$package" Package; done | sed 's/^videobuf3-\(.*\)-dkms$/\1/')

export DEBIAN_FRONTEND=noninteractive
dpkg -s dkms >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends dkms
}
list=/kernels.list
if [ -n "$cross" ]; then
    list=/kernels/$arch.list
    for dir in /usr/lib/modules /var/lib/dkms; do
        mount -t tmpfs modules $dir
    done
    for kernel in $(cat $list); do
        mkdir "/lib/modules/$kernel"
        ln -s "$(headers "$kernel")" "/lib/modules/$kernel/build"
    done
    # dkms strips its output, with a program of a fixed name.
    PATH=/usr/${cross%-}/bin:$PATH
fi
for kernel in $(cat $list); do
    # An installed kernel has the stock module at depmod's path.
    stock=/lib/modules/$kernel/kernel/drivers/media/common/videobuf2
    mkdir -p "$stock"
    for kind in $kinds; do
        cp "/kernels/$kernel/tree/usr$stock/videobuf2-$kind.ko.xz" "$stock/"
    done
    for file in modules.order modules.builtin modules.builtin.modinfo; do
        cp "/kernels/$kernel/tree/usr/lib/modules/$kernel/$file" "/lib/modules/$kernel/"
    done
    depmod "$kernel"
done
# Every kernel must find every module at its expected path.
all_in() {
    for kernel in $(cat $list); do
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
dpkg ${cross:+--force-architecture} -i "$@"
all_in updates/dkms
# For a machine that boots with the packages installed now.
for kernel in $(cat $list); do
    rm -rf "/work/$kernel/updates"
    mkdir -p "/work/$kernel/updates"
    cp -r "/lib/modules/$kernel/updates/dkms" "/work/$kernel/updates/"
done
for package; do
    dpkg -r "$(dpkg-deb -f "$package" Package):$(dpkg-deb -f "$package" Architecture)"
done
all_in kernel/drivers
[ -z "$(ls /var/lib/dkms)" ]
