# The trial of videobuf2-common by `queue` (docs/kernel-core-trial.md): the stock V4L2 part, allocators and
# vivid over the stock core and over ours. What a call costs is measured on a device that is done at once.
#needs core
. /scenario/lib.sh

# Loads the core, ours with mappings kept by what they map if it says so, and what stands on it.
use_core() {
    modprobe mc
    modprobe videodev
    case $1 in
        c) modprobe videobuf2-common ;;
        rust) insmod /scenario/core-videobuf2-common.ko say_reasons=1 ;;
        kept) insmod /scenario/core-videobuf2-common.ko keep_mappings=1 ;;
    esac || step "$1.load" '"ok":false'
    for part in v4l2 dma-contig dma-sg vmalloc; do modprobe videobuf2-$part; done
}

drop_core() {
    rmmod vivid vb3edu 2>/dev/null
    for part in dma-contig dma-sg vmalloc memops v4l2 common; do
        rmmod videobuf2-$part 2>/dev/null
    done
    [ -e /sys/module/videobuf2_common ] && ok=false || ok=true
    step "$1.unload" "\"ok\":$ok"
    checkers "$1"
}

bench() {
    insmod /scenario/vb3edu.ko instant=1 mask=$mask || step "$1.driver" '"ok":false'
    within 250 /scenario/bench "$(node vb3edu)" "$1" $([ "$IOMMU" = none ] || echo iommu) >/dev/results
    ended "$1.bench.exit" $?
    rmmod vb3edu
}

# What a program gets when the driver completes a buffer whose turn is over: that a buffer is done that no
# device has filled, or, if the driver can say which turn it means, that none is (EAGAIN).
late() {
    insmod /scenario/vb3edu.ko late=$2 mask=$mask || step "$1.late.driver" '"ok":false'
    within 60 /scenario/late "$(node vb3edu)" "$1.late.$3" "$4" >/dev/results
    ended "$1.late.$3.exit" $?
    rmmod vb3edu
}

[ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
if [ ! -e /scenario/core-videobuf2-common.ko ]; then
    step core '"left_out":"this kernel has symbol versions, and its modules refuse exports of another compilation"'
    MODULES=
fi
module=videobuf2-common
for which in $MODULES; do
    use_core "$which"
    step "$which.module" "$(module_facts)"
    load_vivid allocators=1,1
    comply_vivid "$which"
    conform "$capture"
    waits "$capture"
    v4l2-ctl -d "$capture" --set-fmt-video=width=1280,height=720
    kinds output "$output" "$capture"
    rmmod vivid
    insmod /scenario/vb3edu.ko mask=$mask
    kinds userptr "$(node vb3edu)"
    rmmod vb3edu
    bench "$which"
    late "$which" 1 by-buffer 0
    if [ "$which" = rust ]; then
        late rust 2 by-turn 11
        dmesg | grep -q 'videobuf2-common: .*: refused (errno' && ok=true || ok=false
        step rust.reasons "\"ok\":$ok"
    fi
    complaints "$which"
    drop_core "$which"
done
case $MODULES in
    *rust*)
        use_core kept
        bench kept
        complaints rust
        drop_core kept
        ;;
esac
