#!/bin/sh
# Builds the module for a kernel, and checks that the kernel's drivers can use it:
#
#   build.sh SOURCE HEADERS [ARGUMENT...]
#
# Arguments are kbuild's. Drivers refuse a module whose symbols have other checksums than those they were built for
# (MODVERSIONS). In this case the build fails, and the kernel keeps its own module.
set -eu

source=$(cd "$1" && pwd)
headers=$2
shift 2

make -C "$headers" M="$source" "$@" modules
# Strips the symbols of the padding before functions and of module information, a tenth of a loaded module.
cross=$(printf '%s\n' "$@" | sed -n 's/^CROSS_COMPILE=//p')
"${cross}objcopy" --wildcard --strip-symbol='__pfx_*' --strip-symbol='__UNIQUE_ID_*' "$source"/*.ko
# Prints a symbol's CRC from a Module.symvers: crc FILE SYMBOL.
crc() { awk -v symbol="$2" '$2 == symbol { print $1 }' "$1"; }
for symbol in $(sed -n 's/^EXPORT_SYMBOL_GPL(\([a-z0-9_]*\)).*/\1/p' "$source/exports.c"); do
    ours=$(crc "$source/Module.symvers" "$symbol")
    own=$(crc "$headers/Module.symvers" "$symbol")
    [ -n "$ours" ] && [ "$ours" = "$own" ] || {
        echo "error: the CRC of $symbol is $ours, and ${own:-missing} in the kernel's own module" >&2
        exit 1
    }
    echo "$symbol: CRC $ours, as in the kernel's own module"
done
