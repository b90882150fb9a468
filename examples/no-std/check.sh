#!/bin/sh
# check.sh DIRECTORY: builds the library in this directory without std, and runs it from C.
set -eu
mkdir -p "$1"
target=$(realpath "$1")
cd "$(dirname "$0")"
build() { cargo build --release --target-dir "$target" "$@"; }
build
# The control program links std, so its build must fail with E0152 (a lang item is defined twice). Otherwise, the
# library's own build would not show that the library needs no std.
if said=$(build --features control 2>&1); then
	echo "the control program links with std, so this check detects nothing"
	exit 1
fi
echo "$said" | grep -q E0152 || { echo "the control fails for another reason: $said"; exit 1; }
cc -Wall -Werror -o "$target/map" main.c "$target/release/libvb3_no_std.a"
"$target/map"
