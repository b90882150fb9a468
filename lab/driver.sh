#!/bin/sh
# Builds the test drivers for one kernel, beside the module they use: driver.sh LAB OUT ARCH KERNEL
set -eu
. "$1/arch/$3.sh"
work=$2/driver
build=$(headers "$4")
from=$(cat "$build/.config" "$2/from" "$1"/driver/* "$1/arch/$3.sh" "$1/driver.sh" | sha256sum)
if [ "$(cat "$work/from" 2>/dev/null)" = "$from" ]; then
    exit
fi
rm -rf "$work"
mkdir -p "$work"
cp "$1"/driver/* "$work/"
# shellcheck disable=SC2086 # one word each
make -C "$build" M="$work" $kbuild KCFLAGS=-Werror modules
cp "$work"/vb3*.ko "$2/"
echo "$from" >"$work/from"
