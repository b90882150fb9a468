#!/bin/sh
# Gets a stock kernel and packs an initial RAM disk that mounts a directory of the host as its root.
#
#   make-kernel.sh MIRROR SUITE ARCH IMAGE INIT OUT
#
# ARCH is Debian's name, IMAGE a package such as linux-image-amd64. OUT, which appears only when it
# is complete, has vmlinuz, initrd and version. Nothing of ARCH is run.
set -eu

export PATH="$PATH:/usr/sbin:/sbin"
mirror=$1
suite=$2
arch=$3
image=$4
init=$5
out=$6
tree=$out.tree
partial=$out.partial
rm -rf "$tree" "$partial"
mkdir -p "$partial"
mmdebstrap --variant=extract --arch="$arch" \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --include="$image,busybox-static" "$suite" "$tree" "deb $mirror $suite main"
[ -e "$tree/lib" ] || ln -s usr/lib "$tree/lib"
version=$(ls "$tree/lib/modules")
depmod -b "$tree" "$version"

disk=$partial/disk
mkdir -p "$disk/bin" "$disk/modules"
busybox=$tree/bin/busybox
[ -e "$busybox" ] || busybox=$tree/usr/bin/busybox
cp "$busybox" "$disk/bin/busybox"
cp "$init" "$disk/init"
chmod +x "$disk/init"
# In the order in which they are loaded, each once. What is built in is not listed.
for module in virtio_pci 9p 9pnet_virtio overlay fuse; do
    modprobe -d "$tree" -S "$version" --show-depends "$module" 2>/dev/null || true
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r file; do
    name=$(basename "$file")
    case $name in
        *.xz) name=${name%.xz}; xz -dc "$file" >"$disk/modules/$name" ;;
        *) cp "$file" "$disk/modules/$name" ;;
    esac
    echo "$name" >>"$disk/modules/order"
done
# A pipe would hide that cpio has failed.
(cd "$disk" && find . | cpio -o -H newc --quiet) >"$partial/initrd"
gzip -6 "$partial/initrd"
mv "$partial/initrd.gz" "$partial/initrd"
cp "$tree"/boot/vmlinuz-* "$partial/vmlinuz"
echo "$version" >"$partial/version"
rm -rf "$disk" "$tree"
mv "$partial" "$out"
