#!/bin/sh
# Rebuilds the Rust object from its source in another directory, and compares it with those of packages:
#
#   rebuild-test.sh ARCH ARCHIVE PACKAGE...
set -eu

arch=$1
archive=$2
shift 2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
tar -xJf "$archive" -C "$place"
for package; do
    dpkg-deb -x "$package" "$place/packages"
    # The package names its source.
    (cd "$(dirname "$archive")" && dpkg-deb --fsys-tarfile "$package" |
        tar -xO --wildcards './usr/share/doc/*/README' | grep '^[0-9a-f]\{64\} ' | sha256sum -c)
done
sh "$place"/videobuf3-kernel-*/kernel/package/rebuild.sh "$place/out" "$arch" "$place"/packages/usr/src/*
