# The conformance calls on vivid, for each module.
. /scenario/lib.sh

for which in $MODULES; do
    use_module "$which" || continue
    modprobe vivid allocators=1,1 n_devs=1 multiplanar=1 num_inputs=1 input_types=0x00 \
        num_outputs=0 node_types=0x1 no_error_inj=1
    timeout 120 /scenario/conform "$(node vivid-000-vid-cap)" >/tmp/out
    step "$which.conform.exit" "\"result\":\"$?\""
    while read -r name value; do
        step "$which.conform.$name" "\"result\":\"$value\""
    done </tmp/out
    complaints "$which"
    rmmod vivid
    drop_module "$which"
done
