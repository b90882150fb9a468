#!/bin/sh
# Builds the test drivers for one kernel, beside the module they use: driver.sh SOURCES OUT KERNEL
set -eu
work=$2/driver
rm -rf "$work"
mkdir -p "$work"
cp "$1"/* "$work/"
make -C "/lib/modules/$3/build" M="$work" KCFLAGS=-Werror modules
cp "$work"/vb3*.ko "$2/"
