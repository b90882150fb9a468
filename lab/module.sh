#!/bin/sh
# Builds the kernel modules against the headers of one kernel, in the build root.
#
#   module.sh SOURCES RUST KERNEL OUT
#
# SOURCES holds kernel/, RUST is where rust-object.sh worked. Leaves OUT/videobuf2-*.ko. A warning of
# the compiler, objtool or modpost is an error, and so is another CRC than the kernel's own module
# has for a symbol, where there are CRCs.
set -eu

sources=$1
rust=$2
kernel=$3
out=$4
build=/lib/modules/$kernel/build
log=$out/build.log
rm -rf "$out"
mkdir -p "$out"

fail() {
    cat "$log" >&2
    exit 1
}

for dir in "$sources"/kernel/module/*/; do
    module=$(basename "$dir")
    work=$out/$module
    sh "$sources/lab/lay-out.sh" "$sources" "$rust" "$module" "$work"
    make -C "$build" M="$work" KCFLAGS=-Werror modules >"$log" 2>&1 || fail
    # The headers say which compiler built the kernel; the build root has a patch level of its own.
    if grep -v 'the compiler differs\|The kernel was built by\|You are using\|Skipping BTF' "$log" |
        grep -iE 'warning|objtool|modpost:|error'; then
        fail
    fi
    while read -r crc symbol _; do
        own=$(awk -v symbol="$symbol" '$2 == symbol { print $1 }' "$build/Module.symvers")
        if [ "$own" != "$crc" ]; then
            echo "error: the CRC of $symbol is $crc, and $own in the kernel's own module" >&2
            exit 1
        fi
        echo "$symbol: CRC $crc, as in the kernel's own module"
    done <"$work/Module.symvers"
    cp "$work"/*.ko "$out/"
done
size "$out"/*.ko
