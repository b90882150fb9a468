#!/bin/sh
# Lets a kernel load a module as its videobuf2-@KIND@, or without MODULE its own again:
#
#   place.sh KERNEL [MODULE]
#
# depmod's index names the files that drivers load. If the disk is full, the index stays old. Then each file
# that it names must stay, too, or no driver would load.
set -u

kernel=$1
module=${2:-}
to=/lib/modules/$kernel/updates/videobuf3
mkdir -p "$to" || exit 1
for old in "$to"/videobuf2-@KIND@.ko*; do
    [ ! -e "$old" ] || mv "$old" "$to/.${old##*/}.old"
done
result=0
# A full disk cuts the copy short. The kernel would load the part, and have no module.
if [ -n "$module" ] && ! cp "$module" "$to/"; then
    rm -f "$to/${module##*/}"
    result=1
fi
depmod "$kernel" || result=1
named=$(modinfo -k "$kernel" -n videobuf2-@KIND@ 2>/dev/null)
case $named in
    */updates/videobuf3/*)
        if [ ! -e "$named" ]; then
            mv "$to/.${named##*/}.old" "$named"
            echo "videobuf3-@KIND@: depmod has failed, so $kernel still loads $named" >&2
            result=1
        fi
        ;;
esac
rm -f "$to"/.videobuf2-@KIND@.ko*.old
rmdir "$to" 2>/dev/null
exit $result
