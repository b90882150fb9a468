#!/bin/sh
# Lays out the source of one module, as kbuild takes it: lay-out.sh SOURCES RUST MODULE OUT
#
# MODULE is a directory of kernel/module: contig, sg, vmalloc. Leaves in OUT what all modules share, what
# is this one's, and of the Rust object the part that they call.
set -eu

sources=$1
rust=$2
module=$3
out=$4
mkdir -p "$out"
cp "$sources"/kernel/module/*.[ch] "$sources/kernel/module/$module"/* "$out/"
roots=$(grep -oh 'vb3_rs_[a-z_]*(' "$out"/*.c "$out/kind.h" | tr -d '(' | sort -u | sed 's/^/-u /')
# shellcheck disable=SC2086 # one word each
ld -r --gc-sections $roots -o "$out/vb3rust.bin" "$rust/libvb3_kernel.a"
strip --strip-debug "$out/vb3rust.bin"
