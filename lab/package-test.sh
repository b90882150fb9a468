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
    # dkms strips its output, with a program of a fixed name, and asks uname for the machine.
    mkdir -p /tmp/foreign
    printf '#!/bin/sh\n[ "$1" = -m ] && echo %s || exec /usr/bin/uname "$@"\n' "${target%%-*}" >/tmp/foreign/uname
    chmod +x /tmp/foreign/uname
    PATH=/tmp/foreign:/usr/${cross%-}/bin:$PATH
fi
# A run that was interrupted leaves its packages.
for kind in $kinds; do
    dpkg --purge --force-remove-reinstreq "videobuf3-$kind-dkms" >/dev/null 2>&1 || true
    rm -rf "/var/lib/dkms/videobuf3-$kind"
done
for kernel in $(cat $list); do
    rm -rf "/lib/modules/$kernel/updates"
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
# Kernels that the packages must leave alone: one is too old, and one has other symbols' checksums.
others='6.1.0-old 6.12.0-changed'
first=$(head -n 1 $list)
changed=/tmp/changed
rm -rf $changed
cp -rL "$(headers "$first")" $changed
sed -i 's/^0x[0-9a-f]*\(.*videobuf2-\(dma-contig\|dma-sg\|vmalloc\)\t\)/0x12345678\1/' $changed/Module.symvers
for kernel in $others; do
    rm -rf "/lib/modules/$kernel"
    cp -r "/lib/modules/$first" "/lib/modules/$kernel"
    rm -f "/lib/modules/$kernel/build"
    ln -s $changed "/lib/modules/$kernel/build"
    depmod "$kernel"
done
# Every kernel must find every module at its expected path: all_in PATH KERNEL...
all_in() {
    path=$1
    shift
    for kernel; do
        for kind in $kinds; do
            found=$(modinfo -k "$kernel" -n "videobuf2-$kind")
            echo "$kernel: $found"
            case $found in
                */$path/*) ;;
                *) exit 1 ;;
            esac
        done
    done
}
dpkg ${cross:+--force-architecture} -i "$@"
# shellcheck disable=SC2046 # one word each
all_in updates/dkms $(cat $list)
# shellcheck disable=SC2086 # one word each
all_in kernel/drivers $others
# Only the lab's modules fail on request.
for kind in $kinds; do
    if modinfo -k "$first" -p "videobuf2-$kind" | grep '^fail_'; then
        echo "error: videobuf2-$kind has parameters of tests" >&2
        exit 1
    fi
done
# For a machine that boots with the packages installed now.
for kernel in $(cat $list); do
    rm -rf "/work/$kernel/updates"
    mkdir -p "/work/$kernel/updates"
    cp -r "/lib/modules/$kernel/updates/dkms" "/work/$kernel/updates/"
done
for package; do
    dpkg -r "$(dpkg-deb -f "$package" Package):$(dpkg-deb -f "$package" Architecture)"
done
# shellcheck disable=SC2046,SC2086 # one word each
all_in kernel/drivers $(cat $list) $others
for kernel in $others; do
    rm -r "/lib/modules/$kernel"
done
rm -r $changed
[ -z "$(ls /var/lib/dkms)" ]
