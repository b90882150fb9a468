# The conformance calls, for each module: on vivid, and on edu for user pointers, which vivid has
# none of with contiguous buffers.
. /scenario/lib.sh

for which in $MODULES; do
    use_module "$which" || continue
    modprobe vivid allocators=1,1 n_devs=1 multiplanar=1 num_inputs=1 input_types=0x00 \
        num_outputs=1 output_types=0x00 node_types=0x101 no_error_inj=1
    capture=$(node vivid-000-vid-cap)
    conform "$capture"
    # An exporter's buffers must be no smaller than the importer's.
    v4l2-ctl -d "$capture" --set-fmt-video=width=1280,height=720
    kinds output "$(node vivid-000-vid-out)" "$capture"
    [ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
    insmod /scenario/vb3edu.ko mask=$mask
    kinds userptr "$(node vb3edu)"
    complaints "$which"
    rmmod vivid vb3edu
    drop_module "$which"
done
