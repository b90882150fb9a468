#!/bin/sh
# Rebuilds the Rust object of a package in another directory, from the source in the package, and compares both:
#
#   rebuild-test.sh ARCH PACKAGE
set -eu

arch=$1
package=$2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
dpkg-deb -x "$package" "$place/package"
tar -xJf "$place"/package/usr/src/*/rust-object-source.tar.xz -C "$place"
sh "$place"/videobuf3-kernel-*/kernel/package/rebuild.sh "$place/out" "$arch" "$place"/package/usr/src/*
