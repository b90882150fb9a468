# Memory that a board's device tree reserves for a device: taken from the kernel's memory, beyond the
# kernel's memory (so without pages), and lent to the kernel meanwhile. Another device imports it, on a
# bus without coherent caches. Some regions are invalid. The stock module returns invalid pages and the
# kernel oopses, so it comes last.
#memory 5120
#append mem=2048M
#tree reserved
#tree noncoherent
. /scenario/lib.sh

echo 0 >/proc/sys/kernel/panic_on_oops
[ "$IOMMU" = none ] && mask=0xffffffff high=22 || mask=0xfffffff high=0

load() {
    insmod /scenario/vb3edu.ko mask=$mask other=board region="$2" || step "$1.driver" '"ok":false'
    error=$(cat /sys/module/vb3edu/parameters/other_error)
}

# Counts the kernel's cache maintenance since the last call, and that of memory that it does not map: the
# no-map regions, and all beyond its memory. Real processors fault there; QEMU's do not.
tracing=/sys/kernel/debug/tracing
for way in device cpu; do
    echo "p:vb3/$way arch_sync_dma_for_$way at=%x0 bytes=%x1" >>$tracing/kprobe_events
done
echo 1 >$tracing/events/vb3/enable
[ -d $tracing/events/vb3/device ] && [ -d $tracing/events/vb3/cpu ] && ok=true || ok=false
step reserved.probes "\"ok\":$ok"
maintenance() {
    grep -oE 'at=0x[0-9a-f]+ ' $tracing/trace >/tmp/at
    outside=$(grep -cE '0x(60[0-7][0-9a-f]{5}|[c-f][0-9a-f]{7}|[0-9a-f]{9,}) ' /tmp/at)
    [ "$outside" = 0 ] && ok=true || ok=false
    step "$1.maintenance.$2" "\"calls\":$(wc -l </tmp/at),\"outside\":$outside,\"ok\":$ok"
    : >$tracing/trace
}

# A valid region: its start, the errno of a buffer in it, and that of its import. After a program that
# hangs, later results mean nothing.
has_tripped=false
use() {
    [ $has_tripped = false ] || return
    load "$1" "$2"
    step "$1.region.$2" "\"errno\":$error,\"want\":0"
    /scenario/limits "$(node vb3edu)" "$1" board "$(node vb3other)" "$2" "$3" "$4" "$5" >/dev/results &
    await_program
    step "$1.program.$2" "\"defect\":12,\"ended\":$ended,\"ok\":$ended"
    if [ $ended = true ]; then rmmod vb3edu; else has_tripped=true; fi
    maintenance "$1" "$2"
}

# An invalid region: the kernel returns its errno.
refuse() {
    load "$1" "$2"
    step "$1.region.$2" "\"errno\":$error,\"want\":$3"
    rmmod vb3edu
}

for which in rust c; do
    case " $MODULES " in *" $which "*) ;; *) continue ;; esac
    use_module "$which" || continue
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    use "$which" inside 0x60000000 0 0
    use "$which" lent 0x70000000 0 0
    use "$which" small 0x68000000 12 0
    # The kernel reports the overlap, and accepts both.
    refuse "$which" overlapping 0
    refuse "$which" absurd 22
    refuse "$which" empty 22
    use "$which" beyond 0xd0000000 0 0
    use "$which" high 0x140000000 0 $high
    complaints "$which"
    [ "$which" = rust ] || break
    if [ $high != 0 ]; then
        # The address of the last byte, and the device's reach.
        grep -q 'dma-mask: wanted 5368774655, found 4294967295' /sys/kernel/debug/vb2-dma-contig/refusals &&
            ok=true || ok=false
        step rust.refusal "\"ok\":$ok"
    fi
    show_debug "$which"
    rmmod vb3probe
    drop_module "$which"
done
