#!/bin/sh
# Makes the package with the module's source and its Rust object: package.sh SOURCES RUST VERSION OUT
set -eu

sources=$1
rust=$2
version=$3
out=$4
tree=$out.tree
rm -rf "$tree"
mkdir -p "$tree/DEBIAN" "$tree/usr/src/videobuf3-dma-contig-$version" \
    "$tree/usr/share/doc/videobuf3-dma-contig-dkms"
fill() { sed "s/@VERSION@/$version/g" "$sources/kernel/package/$1" >"$tree/$2"; }
fill control DEBIAN/control
fill postinst DEBIAN/postinst
fill prerm DEBIAN/prerm
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
fill dkms.conf "usr/src/videobuf3-dma-contig-$version/dkms.conf"
cp "$sources"/kernel/module/* "$rust/vb3rust.bin" "$tree/usr/src/videobuf3-dma-contig-$version/"
cp "$sources/kernel/LICENSE" "$tree/usr/share/doc/videobuf3-dma-contig-dkms/copyright"
dpkg-deb --root-owner-group -Zxz -b "$tree" "$out"
