#!/bin/sh
# Builds the kernel module against the headers of one kernel, in the build root.
#
#   module.sh SOURCES RUST KERNEL OUT
#
# SOURCES holds kernel/, RUST is where rust-object.sh worked. Leaves OUT/videobuf2-dma-contig.ko.
# A warning of the compiler, objtool or modpost is an error.
set -eu

sources=$1
rust=$2
kernel=$3
out=$4
mkdir -p "$out"
cp "$sources"/kernel/module/* "$out/"
cp "$rust/vb3rust.bin" "$out/"
log=$out/build.log
if ! make -C "/lib/modules/$kernel/build" M="$out" KCFLAGS=-Werror modules >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
# The headers say which compiler built the kernel; the build root has a patch level of its own.
if grep -v 'the compiler differs\|The kernel was built by\|You are using\|Skipping BTF' "$log" |
    grep -iE 'warning|objtool|modpost:|error'; then
    cat "$log" >&2
    exit 1
fi
size "$out/videobuf2-dma-contig.ko"
