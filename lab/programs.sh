#!/bin/sh
# Builds the guest's programs, statically: programs.sh SOURCES OUT
set -eu
mkdir -p "$2"
for source in "$1"/*.c; do
    name=${source##*/}
    gcc -O2 -static -Wall -Wextra -Werror -Wno-unused-parameter -o "$2/${name%.c}" "$source"
done
