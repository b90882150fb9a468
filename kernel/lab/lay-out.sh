#!/bin/sh
# Writes the source of one module in kbuild's layout: lay-out.sh SOURCES RUST ARCH MODULE OUT
#
# ARCH is a file of kernel/lab/arch, MODULE is a directory of kernel/module: contig, sg, vmalloc. OUT gets the
# files of all modules, those of this module, and the part of the Rust object that they call.
set -eu

sources=$1
rust=$2
arch=$3
module=$4
out=$5
. "$sources/kernel/lab/arch/$arch.sh"
mkdir -p "$out"
cp "$sources"/kernel/module/*.* "$sources/kernel/module/$module"/* "$out/"
roots=$(grep -oh 'vb3_rs_[a-z_]*(' "$out"/*.c "$out/kind.h" | tr -d '(' | sort -u | sed 's/^/-u /')
# shellcheck disable=SC2086 # one word each
"${cross}ld" -r --gc-sections $roots -o "$out/vb3rust.bin" "$rust/libvb3_kernel.a"
# Keeps the functions' names, and no name of a function that only removed code calls.
"${cross}strip" --wildcard --strip-unneeded -K '_[RZ]*' -K 'vb3_rs_*' "$out/vb3rust.bin"
