#!/bin/sh
# Rebuilds the Rust object from this source, and compares it with packages' objects bit for bit:
#
#   rebuild.sh OUT ARCH DIRECTORY...
#
# ARCH is a file of kernel/lab/arch (x86-64, arm64). Each DIRECTORY is a package's, such as
# /usr/src/videobuf3-dma-contig-0.2.0. It needs the programs that /usr/share/doc/PACKAGE/README names,
# and Rust's library source (Debian's rust-src).
set -eu

sources=$(cd "$(dirname "$0")/../.." && pwd)
out=$1
arch=$2
shift 2
sh "$sources/kernel/lab/rust-object.sh" "$sources" "$out" "$arch"
sh "$sources/kernel/lab/lay-out.sh" "$sources" "$out" "$arch" "$out/module"
for directory; do
    cmp "$out/module/vb3rust.bin" "$directory/vb3rust.bin"
    echo "$directory: the same object"
done
