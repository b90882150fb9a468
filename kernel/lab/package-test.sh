#!/bin/sh
# Installs, upgrades and removes the package in the build root, and checks each time which module each kernel would load:
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
# A run that was interrupted leaves its package.
name=videobuf3-dma-contig-dkms
dpkg --purge --force-remove-reinstreq $name >/dev/null 2>&1 || true
stock=kernel/drivers/media/common/videobuf2
# Makes an installed kernel, with the stock module: kernel KERNEL NAME HEADERS
kernel() {
    mkdir -p "/lib/modules/$2/$stock"
    cp "/kernels/$1/tree/usr/lib/modules/$1/$stock/videobuf2-dma-contig.ko.xz" "/lib/modules/$2/$stock/"
    for file in modules.order modules.builtin modules.builtin.modinfo; do
        cp "/kernels/$1/tree/usr/lib/modules/$1/$file" "/lib/modules/$2/"
    done
    ln -s "$3" "/lib/modules/$2/build"
    depmod "$2"
}
# Copies a kernel. Its headers may get other symbols and another configuration: copy KERNEL NAME
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
add() { dpkg ${cross:+--force-architecture} -i "$1"; }
ours=updates/dkms
all=$(cat $list)
first=$(head -n 1 $list)
# shellcheck disable=SC2086 # one word each
for kernel in $all; do kernel "$kernel" "$kernel" "$(headers "$kernel")"; done

# dkms must leave two kernels alone: one is too old, and one has videobuf2 built in.
copy "$first" 6.1.0-old
copy "$first" 6.12.0-builtin
sed -i 's/^CONFIG_VIDEOBUF2_DMA_CONTIG=m/CONFIG_VIDEOBUF2_DMA_CONTIG=y/' /tmp/headers-6.12.0-builtin/.config
add "$this"
all_in $ours $all
all_in kernel/drivers 6.1.0-old 6.12.0-builtin
# Only the lab's modules fail on request.
if modinfo -k "$first" -p videobuf2-dma-contig | grep '^fail_'; then
    echo "error: the module has parameters of tests" >&2
    exit 1
fi
# Copies the installed modules, which dkms has signed, for a machine that boots with them.
for kernel in $all; do
    rm -rf "/work/$kernel/updates"
    cp -r "/lib/modules/$kernel/updates" "/work/$kernel/updates"
    cp /var/lib/dkms/mok.pub "/work/$kernel/updates/"
done
[ -n "$cross" ] || sh "$lab/make-firmware.sh" /var/lib/dkms/mok.pub /work/firmware

echo "--- upgraded and downgraded"
for package in "$next" "$this"; do
    add "$package"
    all_in $ours $all
    [ "$(dkms status | grep -c installed)" = "$(wc -l <$list)" ]
done
echo "--- kernels installed later: one that suits, and one whose drivers were built for other symbols"
copy "$first" 6.12.0-comes
run-parts --exit-on-error --arg=6.12.0-comes /etc/kernel/postinst.d
all_in $ours 6.12.0-comes
copy "$first" 6.12.0-changed
sed -i 's/^0x[0-9a-f]*\(.*videobuf2-dma-contig\t\)/0x12345678\1/' /tmp/headers-6.12.0-changed/Module.symvers
! run-parts --exit-on-error --arg=6.12.0-changed /etc/kernel/postinst.d || exit 1
grep -q '^error: the CRC of' "/var/lib/dkms/videobuf3-dma-contig/$(dpkg-deb -f "$this" Version)/build/make.log"
all_in kernel/drivers 6.12.0-changed
run-parts --exit-on-error --arg=6.12.0-comes /etc/kernel/prerm.d
[ ! -e /lib/modules/6.12.0-comes/$ours ] && [ -e /lib/modules/6.12.0-comes/$stock/videobuf2-dma-contig.ko.xz ]
echo "--- removed"
dpkg --purge "$name:$(dpkg-deb -f "$this" Architecture)"
all_in kernel/drivers $all 6.12.0-changed
[ -z "$(ls /var/lib/dkms | grep -v '^mok')" ]
