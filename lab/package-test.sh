#!/bin/sh
# Installs the package in the build root, looks which module each kernel would load, and removes
# it: package-test.sh PACKAGE
set -eu

export DEBIAN_FRONTEND=noninteractive
dpkg -s dkms >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends dkms
}
for kernel in $(cat /kernels.list); do
    # What an installed kernel has: the stock module where depmod finds it.
    stock=/lib/modules/$kernel/kernel/drivers/media/common/videobuf2
    mkdir -p "$stock"
    cp "/kernels/$kernel/tree/usr$stock/videobuf2-dma-contig.ko.xz" "$stock/"
    for list in modules.order modules.builtin modules.builtin.modinfo; do
        cp "/kernels/$kernel/tree/usr/lib/modules/$kernel/$list" "/lib/modules/$kernel/"
    done
    depmod "$kernel"
done
which_module() { modinfo -k "$1" -n videobuf2-dma-contig; }
dpkg -i "$1"
for kernel in $(cat /kernels.list); do
    case $(which_module "$kernel") in
        */updates/dkms/*)
            echo "$kernel: ours"
            # For a machine that boots with what is installed now.
            rm -rf "/work/$kernel/updates"
            mkdir -p "/work/$kernel/updates"
            cp -r "/lib/modules/$kernel/updates/dkms" "/work/$kernel/updates/"
            ;;
        *) echo "$kernel: $(which_module "$kernel")" && exit 1 ;;
    esac
done
dpkg -r videobuf3-dma-contig-dkms
for kernel in $(cat /kernels.list); do
    case $(which_module "$kernel") in
        */kernel/drivers/*) echo "$kernel: the kernel's own again" ;;
        *) exit 1 ;;
    esac
done
