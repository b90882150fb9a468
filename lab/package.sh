#!/bin/sh
# Makes the package of one module, with its source and its part of the Rust object:
#
#   package.sh SOURCES RUST ARCH DEBIAN VERSION MODULE OUT
#
# ARCH is a file of lab/arch, DEBIAN the architecture's name there; MODULE is a directory of kernel/module.
set -eu

sources=$1
rust=$2
arch=$3
debian=$4
version=$5
module=$6
out=$7
kind=$(sed -n 's/^obj-m := videobuf2-\(.*\)\.o$/\1/p' "$sources/kernel/module/$module/Kbuild")
tree=$out.tree
source=usr/src/videobuf3-$kind-$version
docs=usr/share/doc/videobuf3-$kind-dkms
. "$sources/lab/arch/$arch.sh"
rm -rf "$tree"
mkdir -p "$tree/DEBIAN" "$tree/$docs"
sh "$sources/lab/lay-out.sh" "$sources" "$rust" "$arch" "$module" "$tree/$source"
fill() {
    sed -e "s/@VERSION@/$version/g" -e "s/@KIND@/$kind/g" -e "s/@ARCH@/$debian/g" \
        -e "s/@MACHINE@/${target%%-*}/g" "$sources/kernel/package/$1" >"$tree/$2"
}
fill control DEBIAN/control
fill postinst DEBIAN/postinst
fill prerm DEBIAN/prerm
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
fill dkms.conf "$source/dkms.conf"
cp "$sources/kernel/package/build.sh" "$tree/$source/"
cp "$sources/kernel/LICENSE" "$tree/$docs/copyright"
dpkg-deb --root-owner-group -Zxz -b "$tree" "$out"
