#!/bin/sh
# Builds a small kernel from Debian's source, in the build root.
#
#   make-checked.sh STOCK CONFIG STAMP OUT
#
# STOCK is the stock kernel whose source it is, CONFIG a fragment all of which must come to be. OUT
# appears only when it is complete, and the kernel has its name: vmlinuz and tree as make-root.sh
# leaves them of the stock kernels, what modules are built against (build), and stamp, which has the
# word STAMP. The name's end says which kernel it is:
#
#   -checked      with the kernel's own checkers
#   -clang        compiled by Clang, without IBT and without the checkers
#   -clang-arm64  compiled by Clang, with shadow call stacks, for arm64
set -eu

stock=$1
config=$2
stamp=$3
out=$4
# For make, and the changes of CONFIG.
make='make -s'
changes=
boot=x86/boot/bzImage
headers=
case $4 in
    *-clang)
        make="$make LLVM=1"
        changes='s/^CONFIG_UNWINDER_FRAME_POINTER/CONFIG_UNWINDER_ORC/; /^CONFIG_X86_KERNEL_IBT/d; s/-checked/-clang/'
        ;;
    *-clang-arm64)
        make="$make LLVM=1 ARCH=arm64"
        boot=arm64/boot/Image
        # allnoconfig of arm64 has neither the options of x86-64 nor these drivers.
        changes='s/-checked/-clang-arm64/; s/^CONFIG_UNWINDER.*/CONFIG_SHADOW_CALL_STACK=y/
            /X86\|INTEL\|AMD\|GART\|MITIGATION\|ACPI\|SERIAL_8250\|64BIT\|SMP=\|VIRTIO_IOMMU/d'
        headers=/usr/src/linux-headers-$(basename "$4")
        ;;
esac
export DEBIAN_FRONTEND=noninteractive
series=$(echo "$stock" | cut -d. -f1-2)
name=$(basename "$out")
package=$(dpkg-query -W -f='${Version}' "linux-headers-$stock")
work=$out.partial
rm -rf "$work"
mkdir -p "$work/build" "$work/tree"
# Newer kernels of both architectures lack the first two options. The checkers are at the end.
[ -z "$changes" ] || changes="$changes
    /^CONFIG_PREEMPT_VOLUNTARY/d; /^CONFIG_PROC_SYSCTL/d; /^# Memory: use after free/,\$d"
compiler=${changes:+clang lld llvm}
# shellcheck disable=SC2086 # one word each
apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends flex bison bc libelf-dev libssl-dev $compiler

cd "$work"
echo "getting the source of $package"
apt-get download -qq "linux-source-$series=$package"
dpkg-deb --fsys-tarfile ./*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
    tar -xJ --strip-components=1 -C build --exclude='*/Documentation/*/*' --exclude='*/drivers/net/*.[ch]' \
        --exclude='*/drivers/gpu/drm/[ac-uw-z]*/*.[ch]' --exclude='*/sound/*.[ch]' --exclude='*/fs/*fs/*.json' \
        --exclude='*/tools/testing/*' --exclude='*/tools/perf/*'
rm ./*.deb

cd build
sed "$changes" "$config" >"$work/config"
KCONFIG_ALLCONFIG=$work/config $make allnoconfig
# A line that did not come to be would be a checker that is not there.
missing=$(grep -E '^CONFIG_[A-Z0-9_]*=[^n]' "$work/config" | grep -vxFf .config || true)
if [ -n "$missing" ]; then
    echo "error: the kernel cannot be built with:" $missing >&2
    exit 1
fi
$make -j"$(nproc)" "$(basename $boot)" modules
[ "$($make kernelrelease)" = "$name" ] || {
    echo "error: the kernel calls itself $($make kernelrelease), not $name" >&2
    exit 1
}
$make INSTALL_MOD_PATH="$work/tree/usr" modules_install
[ -e "$work/tree/lib" ] || ln -s usr/lib "$work/tree/lib"
cp "arch/$boot" "$work/vmlinuz"
# What modules are built against stays: headers, tools, configuration, symbols.
find . -name '*.o' ! -path './scripts/*' ! -path './tools/*' -delete
find . -name '*.c' ! -path './scripts/*' ! -path './tools/*' ! -path './drivers/media/*' \
    ! -path './drivers/gpu/drm/vkms/*' -delete
rm -f vmlinux vmlinux.a
mkdir -p "/lib/modules/$name"
ln -sfn "$out/build" "/lib/modules/$name/build"
[ -z "$headers" ] || ln -sfn "$out/build" "$headers"
echo "$stamp" >"$work/stamp"
rm -rf "$out"
mv "$work" "$out"
