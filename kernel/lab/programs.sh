#!/bin/sh
# Builds the guest's programs, statically: programs.sh LAB ARCH OUT
#
# programs/ARCH has those for one architecture only.
set -eu
. "$1/arch/$2.sh"
mkdir -p "$3"
for source in "$1"/programs/*.c "$1/programs/$2"/*.c; do
    [ -e "$source" ] || continue
    name=${source##*/}
    "${cross}gcc" -O2 -static -Wall -Wextra -Werror -Wno-unused-parameter -o "$3/${name%.c}" "$source"
done
