#!/bin/sh
# Builds the test driver for one kernel, beside the module it uses: driver.sh SOURCES OUT KERNEL
set -eu
work=$2/driver
mkdir -p "$work"
cp "$1"/* "$work/"
make -C "/lib/modules/$3/build" M="$work" KCFLAGS=-Werror modules
cp "$work/vb3edu.ko" "$2/"
