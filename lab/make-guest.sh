#!/bin/sh
# Makes the guest's image: BusyBox, v4l-utils and a few tools, as a compressed cpio archive.
#
#   make-guest.sh MIRROR TREE OUT
#
# Kernel modules and the scenario are archives of their own, put behind this one at each boot.
set -eu

mirror=$1
tree=$2
out=$3
rm -rf "$tree"
mmdebstrap --variant=extract --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --include=v4l-utils,kmod,busybox-static,strace,pciutils trixie "$tree" "deb $mirror trixie main"

cd "$tree"
for dir in bin sbin lib lib64; do
    [ -e "$dir" ] || ln -s "usr/$dir" "$dir"
done
mkdir -p proc sys run root scenario
for applet in $(chroot . /usr/bin/busybox --list); do
    [ -e "usr/bin/$applet" ] || [ -e "usr/sbin/$applet" ] || ln -s busybox "usr/bin/$applet"
done
rm -rf usr/share/doc usr/share/locale usr/share/man var/cache var/lib/apt var/lib/dpkg dev/*
find . | cpio -o -H newc --quiet | gzip -6 >"$out.partial"
mv "$out.partial" "$out"
cd /
rm -rf "$tree"
