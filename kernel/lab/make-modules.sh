#!/bin/sh
# Packs the modules of one kernel that the guest needs, in the build root.
#
#   make-modules.sh KERNEL OUT
set -eu

kernel=$1
out=$2
tree=/kernels/$kernel/tree
pack=/kernels/$kernel/pack
rm -rf "$pack"
mkdir -p "$pack/usr/lib/modules/$kernel"
ln -s usr/lib "$pack/lib"
for module in vivid videobuf2-dma-contig videobuf2-dma-sg videobuf2-vmalloc virtio_pci \
    virtio-iommu vfio-pci vfio_iommu_type1 udmabuf system_heap vgem drm_client_lib drm_kms_helper drm_shmem_helper v4l2-tpg configfs \
    zram 9p 9pnet_virtio overlay usb_f_uvc uvcvideo; do
    modprobe -d "$tree" -S "$kernel" --show-depends "$module" 2>/dev/null || true
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
    to=$pack/usr/lib/modules/${file#*/lib/modules/}
    mkdir -p "${to%/*}"
    cp "$file" "$to"
done
for list in modules.builtin modules.builtin.modinfo modules.order; do
    cp "$tree/usr/lib/modules/$kernel/$list" "$pack/usr/lib/modules/$kernel/"
done
depmod -b "$pack" "$kernel"
rm "$pack/lib"
# A pipe would hide that cpio has failed.
(cd "$pack" && find . | cpio -o -H newc --quiet) >"$out.partial"
gzip -6 -f "$out.partial"
mv "$out.partial.gz" "$out"
