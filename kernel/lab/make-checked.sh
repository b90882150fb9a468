#!/bin/sh
# Builds a small kernel with the kernel's own checkers, from Debian's source, in the build root.
#
#   make-checked.sh STOCK CONFIG STAMP OUT
#
# STOCK is the stock kernel whose source it is, CONFIG a fragment all of which must come to be. OUT
# appears only when it is complete, and the kernel has its name: vmlinuz and tree as make-root.sh
# leaves them of the stock kernels, what modules are built against (build), and stamp, which has the
# word STAMP.
set -eu

stock=$1
config=$2
stamp=$3
out=$4
export DEBIAN_FRONTEND=noninteractive
series=$(echo "$stock" | cut -d. -f1-2)
name=$(basename "$out")
package=$(dpkg-query -W -f='${Version}' "linux-headers-$stock")
work=$out.partial
rm -rf "$work"
mkdir -p "$work/build" "$work/tree"
apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends flex bison bc libelf-dev

cd "$work"
echo "getting the source of $package"
apt-get download -qq "linux-source-$series=$package"
dpkg-deb --fsys-tarfile ./*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
    tar -xJ --strip-components=1 -C build --exclude='*/Documentation/*/*' --exclude='*/drivers/net/*.[ch]' \
        --exclude='*/drivers/gpu/drm/[ac-uw-z]*/*.[ch]' --exclude='*/sound/*.[ch]' --exclude='*/fs/*fs/*.json' \
        --exclude='*/tools/testing/*' --exclude='*/tools/perf/*'
rm ./*.deb

cd build
KCONFIG_ALLCONFIG=$config make -s allnoconfig
# A line that did not come to be would be a checker that is not there.
missing=$(grep -E '^CONFIG_[A-Z0-9_]*=[^n]' "$config" | grep -vxFf .config || true)
if [ -n "$missing" ]; then
    echo "error: the kernel cannot be built with:" $missing >&2
    exit 1
fi
make -s -j"$(nproc)" bzImage modules
[ "$(make -s kernelrelease)" = "$name" ] || {
    echo "error: the kernel calls itself $(make -s kernelrelease), not $name" >&2
    exit 1
}
make -s INSTALL_MOD_PATH="$work/tree/usr" modules_install
[ -e "$work/tree/lib" ] || ln -s usr/lib "$work/tree/lib"
cp arch/x86/boot/bzImage "$work/vmlinuz"
# What modules are built against stays: headers, tools, configuration, symbols.
find . -name '*.o' ! -path './scripts/*' ! -path './tools/*' -delete
find . -name '*.c' ! -path './scripts/*' ! -path './tools/*' ! -path './drivers/media/*' \
    ! -path './drivers/gpu/drm/vkms/*' -delete
rm -f vmlinux vmlinux.a
mkdir -p "/lib/modules/$name"
ln -sfn "$out/build" "/lib/modules/$name/build"
echo "$stamp" >"$work/stamp"
rm -rf "$out"
mv "$work" "$out"
