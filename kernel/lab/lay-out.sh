#!/bin/sh
# Writes the module's source in kbuild's layout: lay-out.sh SOURCES RUST ARCH OUT
#
# ARCH is a file of kernel/lab/arch. OUT gets the C files and the Rust object.
set -eu

sources=$1
rust=$2
arch=$3
out=$4
. "$sources/kernel/lab/arch/$arch.sh"
mkdir -p "$out"
cp "$sources"/kernel/module/* "$out/"
# Keeps the names of functions, except of functions that only removed code calls.
"${cross}strip" --wildcard --strip-unneeded -K '_[RZ]*' -K 'vb3_rs_*' -o "$out/vb3rust.bin" "$rust/vb3rust.bin"
