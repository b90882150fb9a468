# Memory that a board's device tree keeps for a device, declared to the kernel: taken from the kernel's
# memory, beyond all that the kernel knows (so that it has no pages), and lent to the kernel meanwhile.
# Another device imports it, on a bus on which devices see nothing of caches. And regions that make no
# sense. The stock module hands out pages that are none, and the kernel trips over them; so it
# comes last.
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

# A region that there is: where it begins, the errno of a buffer of it, that of importing it. Once a
# program does not end, nothing that comes after says anything.
has_tripped=false
use() {
    [ $has_tripped = false ] || return
    load "$1" "$2"
    step "$1.region.$2" "\"errno\":$error,\"want\":0"
    /scenario/limits "$(node vb3edu)" "$1" board "$(node vb3other)" "$2" "$3" "$4" "$5" >/dev/results &
    await_program
    step "$1.program.$2" "\"defect\":12,\"ended\":$ended,\"ok\":$ended"
    if [ $ended = true ]; then rmmod vb3edu; else has_tripped=true; fi
}

# One that makes no sense: the errno of having it is the kernel's.
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
    # The kernel says that they overlap, and takes both.
    refuse "$which" overlapping 0
    refuse "$which" absurd 22
    refuse "$which" empty 22
    use "$which" beyond 0xd0000000 0 0
    use "$which" high 0x140000000 0 $high
    complaints "$which"
    [ "$which" = rust ] || break
    if [ $high != 0 ]; then
        # Where the last byte is, and how far the device reaches.
        grep -q 'dma-mask: wanted 5368774655, found 4294967295' /sys/kernel/debug/vb2-dma-contig/refusals &&
            ok=true || ok=false
        step rust.refusal "\"ok\":$ok"
    fi
    show_debug "$which"
    rmmod vb3probe
    drop_module "$which"
done
