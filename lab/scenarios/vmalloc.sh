# The vmalloc allocator, which vivid uses unless it is told otherwise: v4l2-compliance and the
# conformance calls, and what the stock module gets wrong, on the C module and ours.
. /scenario/lib.sh

module=videobuf2-vmalloc
for which in $MODULES; do
    use_module "$which" || continue
    modprobe vivid n_devs=1 multiplanar=1 num_inputs=1 input_types=0x00 \
        num_outputs=1 output_types=0x00 node_types=0x101 no_error_inj=1
    capture=$(node vivid-000-vid-cap)
    output=$(node vivid-000-vid-out)
    step "$which.module" "$(module_facts)"
    comply "$which.capture" -d "$capture" -s10
    comply "$which.output" -d "$output" -s10
    comply "$which.capture-imports" -d "$capture" -s10 -e "$output"
    v4l2-ctl -d "$capture" --set-fmt-video=width=1280,height=720
    comply "$which.output-imports" -d "$output" -s10 -e "$capture"
    conform "$capture"
    v4l2-ctl -d "$capture" --set-fmt-video=width=1280,height=720
    kinds output "$output" "$capture"
    kinds userptr "$capture"
    complaints "$which"
    show_debug "$which"
    rmmod vivid
    drop_module "$which"
done
