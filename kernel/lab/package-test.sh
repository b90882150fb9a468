#!/bin/sh
# Installs the package in the build root, checks which module each kernel would load, and removes it:
#
#   package-test.sh LAB ARCH NEXT PACKAGE
#
# ARCH is a file of kernel/lab/arch, NEXT a newer version of the package. For a foreign architecture, the packages'
# own scripts and dkms still run, and a cross compiler builds the modules.
set -eu

lab=$1
arch=$2
next=$3
this=$4
. "$lab/arch/$arch.sh"

export DEBIAN_FRONTEND=noninteractive
dpkg -s dkms openssl >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends dkms openssl
}
# depmod's and dkms's data exist only during the test.
for dir in /usr/lib/modules /var/lib/dkms; do
    mount -t tmpfs modules $dir
done
# The headers are below their package's name also where no kernel is installed.
headers() { echo "/usr/src/linux-headers-$1"; }
list=/kernels.list
if [ -n "$cross" ]; then
    list=/kernels/$arch.list
    # dkms strips its output, with a program of a fixed name, and asks uname for the machine.
    mkdir -p /tmp/foreign
    printf '#!/bin/sh\n[ "$1" = -m ] && echo %s || exec /usr/bin/uname "$@"\n' "${target%%-*}" >/tmp/foreign/uname
    chmod +x /tmp/foreign/uname
    PATH=/tmp/foreign:/usr/${cross%-}/bin:$PATH
fi
# A run that was interrupted leaves its packages and settings.
rm -f /etc/depmod.d/videobuf3.conf /etc/dkms/framework.conf.d/videobuf3.conf
dpkg --purge --force-remove-reinstreq videobuf3-dma-contig-dkms >/dev/null 2>&1 || true
rm -f /etc/kernel/*/videobuf3-dma-contig-dkms
stock=kernel/drivers/media/common/videobuf2
# Makes an installed kernel, with the stock modules: kernel KERNEL NAME HEADERS
kernel() {
    mkdir -p "/lib/modules/$2/$stock"
    cp "/kernels/$1/tree/usr/lib/modules/$1/$stock/videobuf2-dma-contig.ko.xz" "/lib/modules/$2/$stock/"
    for file in modules.order modules.builtin modules.builtin.modinfo; do
        cp "/kernels/$1/tree/usr/lib/modules/$1/$file" "/lib/modules/$2/"
    done
    ln -s "$3" "/lib/modules/$2/build"
    depmod "$2"
}
for kernel in $(cat $list); do
    kernel "$kernel" "$kernel" "$(headers "$kernel")"
done
# Copies a kernel. The new headers differ only in symbols and configuration: copy KERNEL NAME
copy() {
    from=$(headers "$1")
    rm -rf "/tmp/headers-$2"
    mkdir "/tmp/headers-$2"
    ln -s "$from"/* "/tmp/headers-$2/"
    rm "/tmp/headers-$2/Module.symvers"
    # Debian's name of the compiler, for a cross build.
    [ ! -e "$from/.kernelvariables" ] || ln -s "$from/.kernelvariables" "/tmp/headers-$2/"
    cp "$from/Module.symvers" "$from/.config" "/tmp/headers-$2/"
    kernel "$1" "$2" "/tmp/headers-$2"
}
# Gives the allocator's symbols in a kernel's headers another checksum.
change() {
    sed -i 's/^0x[0-9a-f]*\(.*videobuf2-dma-contig\t\)/0x12345678\1/' \
        "/tmp/headers-$1/Module.symvers"
}
remove_copy() { rm -r "/lib/modules/$1" "/tmp/headers-$1"; }

# Kernels that the package must leave alone: one is too old, one has other symbols' checksums, one has
# videobuf2 built in, and one loads signed modules only, but does not know dkms's key.
others='6.1.0-old 6.12.0-changed 6.12.0-builtin 6.12.0-signed'
first=$(head -n 1 $list)
for kernel in $others; do
    copy "$first" "$kernel"
done
change 6.12.0-changed
sed -i 's|drivers/media/common/videobuf2/[^\t]*|vmlinux|' /tmp/headers-6.12.0-builtin/Module.symvers
echo CONFIG_MODULE_SIG_FORCE=y >>/tmp/headers-6.12.0-signed/.config
# Every kernel must find the module at its expected path: all_in PATH KERNEL...
all_in() {
    path=$1
    shift
    for kernel; do
        found=$(modinfo -k "$kernel" -n videobuf2-dma-contig)
        echo "$kernel: $found"
        case $found in
            */$path/*) ;;
            *) exit 1 ;;
        esac
    done
}
log=/tmp/package-test.log
dpkg ${cross:+--force-architecture} -i "$this" >$log 2>&1 || { cat $log; exit 1; }
cat $log
# Each kernel that is left alone gets a reason.
for reason in 'the CRC of' 'is built into this kernel' 'loads signed modules only'; do
    grep -q "^error: .*$reason" $log
done
# shellcheck disable=SC2046 # one word each
all_in updates/videobuf3 $(cat $list)
# shellcheck disable=SC2086 # one word each
all_in kernel/drivers $others
# The kernel's own modules stay where they were.
for kernel in $(cat $list); do
    [ -e "/lib/modules/$kernel/$stock/videobuf2-dma-contig.ko.xz" ]
done
# Only the lab's modules fail on request.
if modinfo -k "$first" -p videobuf2-dma-contig | grep '^fail_'; then
    echo "error: the module has parameters of tests" >&2
    exit 1
fi
# Copies the installed modules, which dkms has signed, for a machine that boots with them.
for kernel in $(cat $list); do
    rm -rf "/work/$kernel/updates"
    mkdir -p "/work/$kernel/updates"
    cp -r "/lib/modules/$kernel/updates/videobuf3" "/work/$kernel/updates/"
    cp /var/lib/dkms/mok.pub "/work/$kernel/updates/"
done
[ -n "$cross" ] || sh "$lab/make-firmware.sh" /var/lib/dkms/mok.pub /work/firmware
name=videobuf3-dma-contig-dkms:$(dpkg-deb -f "$this" Architecture)
dpkg -r "$name"
# shellcheck disable=SC2046,SC2086 # one word each
all_in kernel/drivers $(cat $list) $others
for kernel in $others; do
    remove_copy "$kernel"
done
. "$lab/package-orders.sh"
dpkg --purge "$name"
[ -z "$(ls /var/lib/dkms | grep -v '^mok')" ]
[ -z "$(ls /etc/kernel/*/videobuf3-* 2>/dev/null)" ]
