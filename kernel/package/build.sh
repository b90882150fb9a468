#!/bin/sh
# Builds a module for a kernel, and checks that drivers can use it there:
#
#   build.sh SOURCE HEADERS [ARGUMENT...]
#
# Arguments are kbuild's. Each failed check is an error: drivers refuse a module whose symbols have other
# checksums (MODVERSIONS), and a kernel that enforces signatures refuses one with an unknown key. Then the
# kernel keeps its own module.
set -eu

source=$1
headers=$2
shift 2
fail() {
    echo "error: $*" >&2
    exit 1
}

# Print a symbol's CRC, and the module that exports it, from a Module.symvers: crc FILE SYMBOL, owner FILE SYMBOL.
crc() { awk -v symbol="$2" '$2 == symbol { print $1 }' "$1"; }
owner() { awk -v symbol="$2" '$2 == symbol { print $3 }' "$1"; }

reason=$(sh "$(dirname "$0")/trusted.sh" "$headers") || fail "$reason"
symbols=$(sed -n 's/^EXPORT_SYMBOL_GPL(\([a-z0-9_]*\)).*/\1/p' "$source/exports.c")
[ -n "$symbols" ] || fail "$source/exports.c exports nothing"
for symbol in $symbols; do
    case $(owner "$headers/Module.symvers" "$symbol") in
        '') fail "no module of this kernel exports $symbol: it has no videobuf2 of this kind" ;;
        vmlinux) fail "videobuf2 is built into this kernel ($symbol is in vmlinux), and no module can replace it" ;;
    esac
done
make -C "$headers" M="$source" "$@" modules
# Strips the symbols of the padding before functions and of module information, a tenth of a loaded module.
cross=$(printf '%s\n' "$@" | sed -n 's/^CROSS_COMPILE=//p')
"${cross}objcopy" --wildcard --strip-symbol='__pfx_*' --strip-symbol='__UNIQUE_ID_*' "$source"/*.ko
for symbol in $symbols; do
    ours=$(crc "$source/Module.symvers" "$symbol")
    own=$(crc "$headers/Module.symvers" "$symbol")
    [ -n "$ours" ] && [ "$ours" = "$own" ] ||
        fail "the CRC of $symbol is $ours, and $own in the kernel's own module"
    echo "$symbol: CRC $ours, as in the kernel's own module"
done
