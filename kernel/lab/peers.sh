#!/bin/sh
# Builds drivers that Debian's kernels leave out, from the same kernel's source: vimc, vim2m,
# vicodec, vkms, and dummy_hcd where the kernel has USB. Also v4l2loopback, for kernels for which Debian's compiles.
#
#   peers.sh LAB ARCH KERNEL OUT
#
# ARCH is a file of kernel/lab/arch. vim2m and vicodec allocate by vmalloc only; here they use dma-contig, which
# is what is tested. dummy_hcd gets isochronous endpoints, without which there is no webcam; it still moves
# no isochronous data. OUT appears only when it is complete.
set -eu

. "$1/arch/$2.sh"
kernel=$3
out=$4
work=$out.partial
rm -rf "$work"
mkdir -p "$work"
cd "$work"
build=$(headers "$kernel")
udc=drivers/usb/gadget/udc
if [ -e "$build/drivers/media/v4l2-core/v4l2-mem2mem.c" ]; then
    # A kernel that was built here has kept what is needed. It has no USB.
    udc=
    (cd "$build" && cp -r --parents drivers/media/test-drivers/vim* drivers/media/test-drivers/vicodec \
        drivers/media/v4l2-core/v4l2-mem2mem.c drivers/gpu/drm/vkms "$work/")
else
    series=$(echo "$kernel" | cut -d. -f1-2)
    version=$(dpkg-query -W -f='${Version}' "linux-headers-${kernel%-*}-common")
    apt-get download -qq "linux-source-$series=$version"
    dpkg-deb --fsys-tarfile ./*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
        tar -xJ --strip-components=1 --wildcards \
            '*/drivers/media/test-drivers/vim*' '*/drivers/media/test-drivers/vicodec/*' \
            '*/drivers/media/v4l2-core/v4l2-mem2mem.c' '*/drivers/gpu/drm/vkms/*' \
            "*/$udc/dummy_hcd.c"
    rm ./*.deb
fi

media=drivers/media
echo 'obj-m := v4l2-mem2mem.o' >$media/v4l2-core/Kbuild
for driver in vim2m.c vicodec/vicodec-core.c; do
    sed -i -e 's/vb2_vmalloc_memops/vb2_dma_contig_memops/' \
        -e 's/^\t\(src_vq\|dst_vq\)->mem_ops = .*/&\n\t\1->dev = ctx->dev->v4l2_dev.dev;/' \
        -e 's,media/videobuf2-vmalloc.h,media/videobuf2-dma-contig.h,' \
        "$media/test-drivers/$driver"
done
mkdir -p $media/test-drivers/vim2m
mv $media/test-drivers/vim2m.c $media/test-drivers/vim2m/
echo 'obj-m := vim2m.o' >$media/test-drivers/vim2m/Kbuild

make_in() {
    dir=$work/$1
    shift
    # shellcheck disable=SC2086 # one word each
    make -C "$build" M="$dir" $kbuild modules "$@"
    cp "$dir"/*.ko "$work/"
}
make_in $media/v4l2-core
symbols=$work/$media/v4l2-core/Module.symvers
make_in $media/test-drivers/vim2m KBUILD_EXTRA_SYMBOLS="$symbols"
make_in $media/test-drivers/vicodec KBUILD_EXTRA_SYMBOLS="$symbols" CONFIG_VIDEO_VICODEC=m
make_in $media/test-drivers/vimc CONFIG_VIDEO_VIMC=m
make_in drivers/gpu/drm/vkms CONFIG_DRM_VKMS=m
if [ -n "$udc" ]; then
    sed -i 's/USB_EP_CAPS(TYPE_BULK_OR_INT/USB_EP_CAPS(USB_EP_CAPS_TYPE_ALL/' $udc/dummy_hcd.c
    echo 'obj-m := dummy_hcd.o' >$udc/Kbuild
    make_in $udc
fi
apt-get download -qq v4l2loopback-dkms
dpkg-deb -x v4l2loopback-dkms_*.deb loopback
make_in "$(echo loopback/usr/src/*)" || echo "v4l2loopback does not compile"
mkdir -p "$work/done"
mv ./*.ko "$work/done/"
mv "$work/done" "$out"
rm -rf "$work"
