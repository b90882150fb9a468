#!/bin/sh
# Makes the package, with the module's source, the Rust object and that object's source:
#
#   package.sh SOURCES RUST ARCH DEBIAN VERSION ARCHIVE OUT
#
# ARCH is a file of kernel/lab/arch, DEBIAN the architecture's name there; ARCHIVE is the Rust object's source
# (source.sh). The object is GPL-2.0: who gets it must get its source, so the package contains both.
set -eu

sources=$1
rust=$2
arch=$3
debian=$4
version=$5
archive=$6
out=$7
tree=$out.tree
source=usr/src/videobuf3-dma-contig-$version
docs=usr/share/doc/videobuf3-dma-contig-dkms
. "$sources/kernel/lab/arch/$arch.sh"
rm -rf "$tree"
mkdir -p "$tree/DEBIAN" "$tree/$docs"
sh "$sources/kernel/lab/lay-out.sh" "$sources" "$rust" "$arch" "$tree/$source"
fill() {
    sed -e "s/@VERSION@/$version/g" -e "s/@ARCH@/$debian/g" \
        -e "s/@MACHINE@/${target%%-*}/g" "$sources/kernel/package/$1" >"$tree/$2"
}
fill control DEBIAN/control
fill postinst DEBIAN/postinst
fill prerm DEBIAN/prerm
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
fill dkms.conf "$source/dkms.conf"
cp "$sources/kernel/package/build.sh" "$tree/$source/"
cp "$sources/kernel/LICENSE" "$tree/$docs/copyright"
cp "$archive" "$tree/$source/rust-object-source.tar.xz"
{
    echo "/$source/vb3rust.bin was built from /$source/rust-object-source.tar.xz,"
    echo "by kernel/package/rebuild.sh in that archive, with these programs:"
    rustc -V
    "${cross}ld" -v
} >"$tree/$docs/README"
dpkg-deb --root-owner-group -Zxz -b "$tree" "$out"
