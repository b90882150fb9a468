#!/bin/sh
# Makes a kernel load MODULE as its videobuf2-dma-contig, or without MODULE its own module again:
#
#   place.sh KERNEL [MODULE]
#
# depmod's index names the files that drivers load. On a full disk depmod cuts the index short, and no driver
# would load. In this case the script restores the old index and each file that it names.
set -u

kernel=$1
module=${2:-}
modules=/lib/modules/$kernel
to=$modules/updates/videobuf3
mkdir -p "$to" || exit 1
for old in "$to"/videobuf2-dma-contig.ko*; do
    [ ! -e "$old" ] || mv "$old" "$to/.${old##*/}.old"
done
result=0
# A full disk cuts the copy short, too.
if [ -n "$module" ] && ! cp "$module" "$to/"; then
    rm -f "$to/${module##*/}"
    result=1
fi
# Keeps the old index by hard links, which need no room. depmod does not change these files: it makes new ones.
for index in "$modules"/modules.*; do
    ln -f "$index" "$modules/.${index##*/}.old"
done
if ! depmod "$kernel"; then
    for old in "$modules"/.modules.*.old; do
        index=${old#"$modules/."}
        mv "$old" "$modules/${index%.old}"
    done
    result=1
fi
rm -f "$modules"/.modules.*.old
named=$(modinfo -k "$kernel" -n videobuf2-dma-contig 2>/dev/null)
# A setting of depmod may prefer another directory, and depmod can succeed without an index.
case $named in
    */updates/videobuf3/"${module##*/}") ;;
    *)
        [ -z "$module" ] || {
            echo "videobuf3-dma-contig: $kernel would load ${named:-no file}, not our module" >&2
            result=1
        }
        ;;
esac
if [ -e "$to/.${named##*/}.old" ] && [ ! -e "$named" ]; then
    mv "$to/.${named##*/}.old" "$named"
    echo "videobuf3-dma-contig: depmod has failed, so $kernel still loads $named" >&2
    result=1
fi
rm -f "$to"/.videobuf2-dma-contig.ko*.old
rmdir "$to" "${to%/*}" 2>/dev/null
exit $result
