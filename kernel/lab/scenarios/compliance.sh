# v4l2-compliance on vivid with contiguous buffers, for each of the modules in MODULES.
. /scenario/lib.sh

for which in $MODULES; do
    use_module "$which" || continue
    load_vivid allocators=1,1
    step "$which.module" "$(module_facts)"
    comply_vivid "$which"
    rmmod vivid
    drop_module "$which"
done
