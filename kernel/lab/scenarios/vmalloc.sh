# The vmalloc allocator, vivid's default: v4l2-compliance, the conformance calls, and the stock module's
# defects, on the C module and ours.
. /scenario/lib.sh

module=videobuf2-vmalloc
for which in $MODULES; do
    use_module "$which" || continue
    load_vivid
    step "$which.module" "$(module_facts)"
    comply_vivid "$which"
    conform "$capture"
    v4l2-ctl -d "$capture" --set-fmt-video=width=1280,height=720
    kinds output "$output" "$capture"
    kinds userptr "$capture"
    complaints "$which"
    show_debug "$which"
    rmmod vivid
    drop_module "$which"
done
