#!/bin/sh
# Builds the C modules of one kernel with the patches of docs/upstream, in the build root.
#
#   patched.sh PATCHES KERNEL OUT
#
# Leaves OUT/patched-videobuf2-*.ko. PATCHES/series has the order. A patch that `git am` refuses, and a
# warning of checkpatch or of the compiler, is an error.
set -eu

patches=$1
kernel=$2
out=$3
series=$(echo "$kernel" | cut -d. -f1-2)
version=$(dpkg-query -W -f='${Version}' "linux-headers-$kernel")
work=$out/patched
rm -rf "$work"
mkdir -p "$work"
cd "$work"
command -v git >/dev/null || apt-get install -y -qq --no-install-recommends git perl
apt-get download -qq "linux-source-$series=$version"
dpkg-deb --fsys-tarfile ./*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
    tar -xJ --strip-components=1 --wildcards '*/drivers/media/common/videobuf2/videobuf2-*' \
        '*/scripts/checkpatch.pl' '*/scripts/spelling.txt'
rm ./*.deb
git init -q
git config user.name videobuf3
git config user.email videobuf3@users.noreply.github.com
git add .
git commit -q -m "The kernel's sources"
while read -r patch; do
    echo "applying $patch"
    git am --quiet --signoff "$patches/$patch"
    # Without the kernel's history, no commit is known.
    scripts/checkpatch.pl --no-tree --strict --quiet --ignore UNKNOWN_COMMIT_ID -g HEAD
done <"$patches/series"
# Another header would change the checksums of the exported symbols' types (MODVERSIONS). Stock drivers
# load by those checksums, and the header's definitions do not concern them.
sed -i 's|^#include <linux/dma-resv.h>$|#ifndef __GENKSYMS__\n&\n#endif|' \
    drivers/media/common/videobuf2/videobuf2-*.c
dir=$work/drivers/media/common/videobuf2
echo 'obj-m := videobuf2-dma-contig.o videobuf2-dma-sg.o videobuf2-vmalloc.o' >"$dir/Kbuild"
make -C "/lib/modules/$kernel/build" M="$dir" KCFLAGS=-Werror modules
for module in "$dir"/*.ko; do
    cp "$module" "$out/patched-${module##*/}"
done
