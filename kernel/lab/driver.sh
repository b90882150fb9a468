#!/bin/sh
# Builds the test drivers for one kernel, next to the module they use, and vb2-why where the kernel has
# kretprobes: driver.sh LAB OUT ARCH KERNEL
set -eu
. "$1/arch/$3.sh"
why=$1/../vb2-why
work=$2/driver
build=$(headers "$4")
! grep -q '^CONFIG_CC_IS_CLANG=y' "$build/.config" || kbuild="$kbuild LLVM=1"
from=$(cat "$build/.config" "$2/from" "$1"/driver/* "$why"/*.[ch] "$why"/Kbuild "$1/arch/$3.sh" "$1/driver.sh" | sha256sum)
if [ "$(cat "$work/from" 2>/dev/null)" = "$from" ]; then
    exit
fi
rm -rf "$work" "$2/why"
mkdir -p "$work" "$2/why"
cp "$1"/driver/* "$work/"
cp "$why"/*.[ch] "$why"/Kbuild "$2/why/"
if ! grep -q '^CONFIG_KRETPROBES=y' "$build/.config"; then
    why=
    echo "vb2-why is not built: $4 has no kretprobes"
fi
case $4 in
    # Only vb2-why is for these kernels. The build root lacks the compiler that Debian 12's headers name.
    6.[0-9].* | 6.1[01].*) own='' kbuild="$kbuild CC=gcc" ;;
    *) own=$work ;;
esac
for dir in $own ${why:+"$2/why"}; do
    # shellcheck disable=SC2086 # one word each
    make -C "$build" M="$dir" $kbuild KCFLAGS=-Werror modules
    cp "$dir"/*.ko "$2/"
done
echo "$from" >"$work/from"
