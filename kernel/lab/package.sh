#!/bin/sh
# Makes the package of one module, with its source and its part of the Rust object:
#
#   package.sh SOURCES RUST ARCH DEBIAN VERSION MODULE ARCHIVE OUT
#
# ARCH is a file of kernel/lab/arch, DEBIAN the architecture's name there; MODULE is a directory of kernel/module,
# ARCHIVE the Rust object's source (source.sh).
set -eu

sources=$1
rust=$2
arch=$3
debian=$4
version=$5
module=$6
archive=$7
out=$8
kind=$(sed -n 's/^obj-m := videobuf2-\(.*\)\.o$/\1/p' "$sources/kernel/module/$module/Kbuild")
tree=$out.tree
source=usr/src/videobuf3-$kind-$version
docs=usr/share/doc/videobuf3-$kind-dkms
. "$sources/kernel/lab/arch/$arch.sh"
rm -rf "$tree"
mkdir -p "$tree/DEBIAN" "$tree/$docs" "$tree/etc/kernel"
sh "$sources/kernel/lab/lay-out.sh" "$sources" "$rust" "$arch" "$module" "$tree/$source"
fill() {
    sed -e "s/@VERSION@/$version/g" -e "s/@KIND@/$kind/g" -e "s/@ARCH@/$debian/g" \
        -e "s/@MACHINE@/${target%%-*}/g" "$sources/kernel/package/$1" >"$tree/$2"
}
fill control DEBIAN/control
fill postinst DEBIAN/postinst
fill prerm DEBIAN/prerm
for when in postinst header_postinst prerm; do
    hook=etc/kernel/$when.d/videobuf3-$kind-dkms
    mkdir -p "$tree/${hook%/*}"
    fill hook "$hook"
    echo "/$hook" >>"$tree/DEBIAN/conffiles"
    chmod 755 "$tree/$hook"
done
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
fill dkms.conf "$source/dkms.conf"
fill install.sh "$source/install.sh"
fill place.sh "$source/place.sh"
for script in build setting trusted; do
    cp "$sources/kernel/package/$script.sh" "$tree/$source/"
done
cp "$sources/kernel/LICENSE" "$tree/$docs/copyright"
{
    echo "vb3rust.bin was built by kernel/package/rebuild.sh of this archive (SHA-256, name):"
    (cd "$(dirname "$archive")" && sha256sum "$(basename "$archive")")
    echo "with these programs:"
    rustc -V
    "${cross}ld" -v
} >"$tree/$docs/README"
dpkg-deb --root-owner-group -Zxz -b "$tree" "$out"
