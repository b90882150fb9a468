# v4l2-compliance on vivid with contiguous buffers, for each of the modules in MODULES.
. /scenario/lib.sh

for which in $MODULES; do
    use_module "$which" || continue
    modprobe vivid allocators=1,1 n_devs=1 multiplanar=1 num_inputs=1 input_types=0x00 \
        num_outputs=1 output_types=0x00 node_types=0x101 no_error_inj=1
    capture=$(node vivid-000-vid-cap)
    output=$(node vivid-000-vid-out)
    step "$which.module" "$(module_facts)"
    comply "$which.capture" -d "$capture" -s10
    comply "$which.output" -d "$output" -s10
    comply "$which.capture-imports" -d "$capture" -s10 -e "$output"
    # An exporter's buffers must be no smaller than the importer's.
    v4l2-ctl -d "$capture" --set-fmt-video=width=1280,height=720
    comply "$which.output-imports" -d "$output" -s10 -e "$capture"
    rmmod vivid
    drop_module "$which"
done
