# Drivers that Debian's kernels omit, together with vivid: each allocates through the module, and frames
# pass between them by dma-buf.
#needs peers
. /scenario/lib.sh

# All entities of a pipeline must have the same format before a node streams.
set_up_vimc() {
    for media in /dev/media*; do
        media-ctl -d "$media" -p 2>/dev/null | grep -q '^driver *vimc' || continue
        for pad in '"Sensor A":0' '"Debayer A":0'; do
            media-ctl -d "$media" -V "$pad [fmt:SBGGR8_1X8/640x480]"
        done
    done
    v4l2-ctl -d "$1" -v width=640,height=480,pixelformat=BA81
}

# Frames pass from one driver to another.
frames() { report "$which.$1" 100 /scenario/peers "$which" "$@"; }

for which in $MODULES; do
    use_module "$which" || continue
    modprobe videobuf2-vmalloc
    for dep in v4l2-tpg configfs drm_kms_helper drm_shmem_helper drm_client_lib; do
        modprobe $dep
    done
    modprobe vivid allocators=1,1 n_devs=1 multiplanar=1 num_inputs=1 input_types=0x00 \
        num_outputs=0 node_types=0x1 no_error_inj=1
    ok=true
    for driver in v4l2-mem2mem "vimc allocator=1" vim2m vicodec vkms; do
        # shellcheck disable=SC2086 # a module and its parameters
        insmod /scenario/${driver%% *}.ko ${driver#"${driver%% *}"} || ok=false
    done
    step "$which.load" "\"ok\":$ok"
    vivid=$(node vivid-000-vid-cap)
    raw=$(node 'Raw Capture 0')
    m2m=$(node vim2m)
    comply "$which.vim2m" -d "$m2m" -s10
    set_up_vimc "$raw"
    comply "$which.vimc" -d "$raw" -s10
    set_up_vimc "$raw"
    comply "$which.vicodec-encoder" -d "$(node stateful-encoder)" -s10
    frames vivid-to-vim2m m2m "$vivid" RGB3 640 360 "$m2m" RGB3 640 360
    # vim2m supports no Bayer pictures; their bytes can represent others.
    frames vimc-to-vim2m m2m "$raw" BA81 640 480 "$m2m" RGB3 320 320
    frames vivid-to-vkms kms "$vivid" /dev/dri/card0 640 360
    complaints "$which"
    rmmod vkms vicodec vim2m vimc vivid v4l2-mem2mem
    drop_module "$which"
done
