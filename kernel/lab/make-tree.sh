#!/bin/sh
# Adds to a machine's device tree: make-tree.sh TREE ADDITION OUT
set -eu
dtc -q -I dtb -O dts -o "$3.dts" "$1"
sed '/^\/dts-v1\/;/d' "$2" >>"$3.dts"
dtc -q -I dts -O dtb -o "$3" "$3.dts"
