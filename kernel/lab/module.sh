#!/bin/sh
# Builds the kernel module against the headers of one kernel, in the build root.
#
#   module.sh SOURCES RUST ARCH KERNEL OUT [FLAGS]
#
# SOURCES holds kernel/, RUST is the directory of rust-object.sh, ARCH is a file of kernel/lab/arch. FLAGS are the C
# compiler's. Makes OUT/videobuf2-dma-contig.ko. Three things are errors: a warning of the compiler, objtool or modpost; a
# relocation that the module loader does not know; a symbol's CRC that differs from the kernel's own
# module. Existing output of the same source is kept.
set -eu

sources=$1
rust=$2
arch=$3
kernel=$4
out=$5
flags=${6:-}
. "$sources/kernel/lab/arch/$arch.sh"
build=$(headers "$kernel")
! grep -q '^CONFIG_CC_IS_CLANG=y' "$build/.config" || kbuild="$kbuild LLVM=1"
log=$out/build.log
case $kernel in
    6.[0-9].* | 6.1[01].*)
        mkdir -p "$out"
        echo "no module for $kernel, only vb2-why" | tee "$out/from"
        exit
        ;;
esac
from=$flags$(cat "$rust/libvb3_kernel.a" "$build/Module.symvers" "$build/.config" "$sources/kernel/lab/arch/$arch.sh" \
    "$sources/kernel/lab/module.sh" "$sources/kernel/lab/lay-out.sh" "$sources/kernel/package/build.sh" \
    "$sources"/kernel/module/* | sha256sum)
if [ "$(cat "$out/from" 2>/dev/null)" = "$from" ]; then
    exit
fi
rm -rf "$out"
mkdir -p "$out"

fail() {
    cat "$log" >&2
    exit 1
}

work=$out/module
sh "$sources/kernel/lab/lay-out.sh" "$sources" "$rust" "$arch" "$work"
# shellcheck disable=SC2086 # one word each
sh "$sources/kernel/package/build.sh" "$work" "$build" $kbuild KCFLAGS="-Werror $flags" >"$log" 2>&1 || fail
# The headers name the compiler that built the kernel; the build root may have another patch level.
if grep -v 'the compiler differs\|The kernel was built by\|You are using\|Skipping BTF' "$log" |
    grep -iE 'warning|objtool|modpost:|error'; then
    fail
fi
foreign=$(readelf -rW "$work"/*.ko | awk '$3 ~ /^R_/ {print $3}' | sort -u |
    grep -vxE "$module_relocations" || true)
if [ -n "$foreign" ]; then
    echo "error: the module has relocations that the module loader does not know: $foreign" >&2
    exit 1
fi
if readelf -sW "$work"/*.ko | grep 'core.*panicking' >&2; then
    echo "error: the module can panic" >&2
    exit 1
fi
# The kernel patches the returns that objtool lists. Without objtool over the Rust object, its own would be missing.
if grep -q '^CONFIG_MITIGATION_RETHUNK=y' "$build/.config" && ! readelf -rW "$work"/*.ko | awk '
    /^Relocation section/ { in_list = $3 ~ /return_sites/ }
    in_list && $3 ~ /^R_/ { listed++ }
    !in_list && $5 == "__x86_return_thunk" { made++ }
    END { print "returns: " made + 0 ", listed for the kernel: " listed + 0; exit made != listed }'; then
    echo "error: objtool did not list all returns of the module" >&2
    exit 1
fi
cp "$work"/*.ko "$out/"
"${cross}size" "$out"/*.ko
echo "$from" >"$out/from"
