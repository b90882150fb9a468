#!/bin/sh
# Installs videobuf2-dma-contig for kernels: install.sh KERNEL...
#
# If this fails for a kernel, the script prints the reason, and the kernel keeps its own module. The script itself
# always succeeds: otherwise, a kernel's package whose hook runs it would stay unconfigured.
#
# dkms builds and signs the module. dkms's own installation would move the kernel's module away; here, depmod
# only prefers ours.
here=${0%/*}
module="-m videobuf3-dma-contig -v @VERSION@"
data=$(bash "$here/setting.sh" dkms_tree /var/lib/dkms)/videobuf3-dma-contig/@VERSION@
for kernel; do
    headers=/lib/modules/$kernel/build
    built=
    if [ ! -d "$headers/include" ]; then
        echo "videobuf3-dma-contig: no headers of $kernel; install them, and this package does the rest" >&2
    else
        # An update of a kernel's package may change the symbols that the module was built for, and keep the
        # kernel's name. So the module is built again.
        # shellcheck disable=SC2086 # words
        [ ! -d "$data/$kernel" ] || dkms unbuild $module -k "$kernel"
        # A build that dkms does not start, because the package is not for such kernels, leaves no log.
        rm -f "$data/build/make.log"
        # shellcheck disable=SC2086 # words
        if dkms build $module -k "$kernel"; then
            built=$(ls "$data/$kernel"/*/module/videobuf2-dma-contig.ko*)
            # dkms only warns if it cannot sign.
            sh "$here/trusted.sh" "$headers" "$built" >&2 || built=
        elif [ -e "$data/build/make.log" ]; then
            grep -h '^error:' "$data/build/make.log" >&2 || tail -n 20 "$data/build/make.log" >&2
        fi
        [ -n "$built" ] || echo "videobuf3-dma-contig: not for $kernel, which keeps its own videobuf2-dma-contig" >&2
    fi
    sh "$here/place.sh" "$kernel" "$built" || [ -z "$built" ] ||
        echo "videobuf3-dma-contig: not installed for $kernel" >&2
done
exit 0
