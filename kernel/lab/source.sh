#!/bin/sh
# Packs the Rust object's source: source.sh SOURCES VERSION OUT
#
# The archive has the same bytes for the same source. kernel/package/rebuild.sh in it builds the object.
set -eu

sources=$1
version=$2
out=$3
cd "$sources"
tar -cJf "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u+rw,go=rX \
    --transform="s|^|videobuf3-kernel-$version/|" \
    kernel/[!lc]* crates/core/*/src crates/core/*/README.md bitflags/src bitflags/README.md bitflags/LICENSE-* \
    kernel/lab/rust-object.sh kernel/lab/lay-out.sh kernel/lab/arch
