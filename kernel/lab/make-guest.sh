#!/bin/sh
# Makes the guest's image: BusyBox, v4l-utils and a few tools, as a compressed cpio archive.
#
#   make-guest.sh MIRROR ARCH TREE OUT
#
# ARCH is Debian's name; nothing of it is run, so BusyBox makes its names when the guest starts.
# liblzma5 is what kmod reads compressed modules by.
# Kernel modules and the scenario are archives of their own, put behind this one at each boot.
set -eu

mirror=$1
arch=$2
tree=$3
out=$4
rm -rf "$tree"
mmdebstrap --arch="$arch" --variant=extract --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --include=v4l-utils,kmod,liblzma5,busybox-static,strace,pciutils trixie "$tree" "deb $mirror trixie main"

cd "$tree"
for dir in bin sbin lib lib64; do
    [ -e "$dir" ] || ln -s "usr/$dir" "$dir"
done
mkdir -p proc sys run root scenario
ln -s busybox usr/bin/sh
rm -rf usr/share/doc usr/share/locale usr/share/man var/cache var/lib/apt var/lib/dpkg dev/*
# A pipe would hide that cpio has failed.
find . | cpio -o -H newc --quiet >"$out.partial"
gzip -6 -f "$out.partial"
mv "$out.partial.gz" "$out"
cd /
rm -rf "$tree"
