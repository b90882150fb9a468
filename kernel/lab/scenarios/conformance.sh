# The conformance calls, for each module: on vivid, and on edu for user pointers, since vivid has none
# with contiguous buffers.
. /scenario/lib.sh

for which in $MODULES; do
    use_module "$which" || continue
    load_vivid allocators=1,1
    conform "$capture"
    waits "$capture"
    # An exporter's buffers must be no smaller than the importer's.
    v4l2-ctl -d "$capture" --set-fmt-video=width=1280,height=720
    kinds output "$output" "$capture"
    [ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
    insmod /scenario/vb3edu.ko mask=$mask
    kinds userptr "$(node vb3edu)"
    complaints "$which"
    rmmod vivid vb3edu
    drop_module "$which"
done
