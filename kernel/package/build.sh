#!/bin/sh
# Builds a module for a kernel, and compares the checksums of its symbols with those of the kernel's own:
#
#   build.sh SOURCE HEADERS [ARGUMENT...]
#
# Arguments are kbuild's. Drivers refuse a module whose checksums differ (MODVERSIONS), so that is an error.
# Then the kernel keeps its own module.
set -eu

source=$1
headers=$2
shift 2
make -C "$headers" M="$source" "$@" modules
while read -r crc symbol _; do
    own=$(awk -v symbol="$symbol" '$2 == symbol { print $1 }' "$headers/Module.symvers")
    if [ -z "$own" ]; then
        echo "error: no module of this kernel exports $symbol: is videobuf2 built in?" >&2
        exit 1
    elif [ "$own" != "$crc" ]; then
        echo "error: the CRC of $symbol is $crc, and $own in the kernel's own module" >&2
        exit 1
    fi
    echo "$symbol: CRC $crc, as in the kernel's own module"
done <"$source/Module.symvers"
