#!/bin/sh
# Builds the C modules of one kernel with the patches of docs/upstream, in the build root.
#
#   patched.sh PATCHES KERNEL OUT
#
# Leaves OUT/patched-videobuf2-*.ko with all patches, OUT/patched-NAME-videobuf2-*.ko with one each, and
# OUT/vb2_memory_test, the patches' kselftest. PATCHES/series has the order. In it, "PATCH after EARLIER" means that
# PATCH alone needs EARLIER, and "PATCH from 6.18" that older kernels lack what PATCH calls. A patch that `git am`
# refuses, one that does not build alone, and a warning of checkpatch or of the compiler are errors.
set -eu

patches=$1
kernel=$2
out=$3
series=$(echo "$kernel" | cut -d. -f1-2)
version=$(dpkg-query -W -f='${Version}' "linux-headers-$kernel")
work=$out/patched
rm -rf "$work" "$out"/patched-*.ko
mkdir -p "$work"
cd "$work"
command -v git >/dev/null || apt-get install -y -qq --no-install-recommends git perl
apt-get download -qq "linux-source-$series=$version"
dpkg-deb --fsys-tarfile ./*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
    tar -xJ --strip-components=1 --wildcards '*/drivers/media/common/videobuf2/videobuf2-*' \
        '*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
        '*/tools/testing/selftests/media_tests/*' '*/tools/testing/selftests/kselftest*.h'
rm ./*.deb
git init -q
git config user.name videobuf3
git config user.email videobuf3@users.noreply.github.com
git add .
git commit -q -m "The kernel's sources"
dir=$work/drivers/media/common/videobuf2
# Builds modules and keeps them as PREFIX-MODULE.ko, without debugging information, because guests hold them
# in memory: build PREFIX MODULE...
build() {
    prefix=$1
    shift
    # Another header would change the checksums of the exported symbols' types (MODVERSIONS). Stock drivers
    # load by those checksums, and the header's definitions do not concern them.
    sed -i 's|^#include <linux/vmalloc.h>$|#ifndef __GENKSYMS__\n&\n#endif|' "$dir/videobuf2-dma-contig.c"
    echo "obj-m := $(printf '%s.o ' "$@")" >"$dir/Kbuild"
    make -s -C "/lib/modules/$kernel/build" M="$dir" KCFLAGS=-Werror modules
    for module; do
        strip --strip-debug -o "$out/$prefix-$module.ko" "$dir/$module.ko"
    done
}
apply() {
    git am --quiet "$patches/$1"
    # Without the kernel's history, no commit is known. MAINTAINERS names directories of the selftests.
    scripts/checkpatch.pl --no-tree --strict --quiet --ignore UNKNOWN_COMMIT_ID,FILE_PATH_CHANGES -g HEAD
}
# Whether this kernel has what a patch of the series needs: suits WORD VALUE
suits() {
    [ "$1" != from ] || [ "$(printf '%s\n' "$2" "$series" | sort -V | head -n 1)" = "$2" ]
}
base=$(git rev-parse HEAD)
while read -r patch word value; do
    suits "$word" "$value" || { echo "$patch is for $value and newer"; continue; }
    echo "applying $patch alone${word:+ ($word $value)}"
    git reset -q --hard "$base"
    [ "$word" != after ] || apply "$value"
    apply "$patch"
    changed=$(git diff --name-only HEAD~ -- drivers)
    # shellcheck disable=SC2086 # one word each
    [ -z "$changed" ] || build "patched-${patch%.patch}" $(basename -s .c $changed)
done <"$patches/series"
git reset -q --hard "$base"
while read -r patch word value; do
    suits "$word" "$value" || continue
    echo "applying $patch"
    apply "$patch"
done <"$patches/series"
build patched videobuf2-dma-contig videobuf2-dma-sg videobuf2-vmalloc
gcc -O2 -static -Wall -Werror -D_GNU_SOURCE -o "$out/vb2_memory_test" \
    tools/testing/selftests/media_tests/vb2_memory_test.c
