# A device's own memory that has pages, but no place in the kernel's own mapping (`no-map`). Another device does
# not reach it, so the kernel would have to copy it. With the stock module the kernel oopses, so it comes last.
#memory 5120
#tree reserved
. /scenario/lib.sh

echo 0 >/proc/sys/kernel/panic_on_oops
for which in rust c; do
    case " $MODULES " in *" $which "*) ;; *) continue ;; esac
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=0xffffffff other=board region=high || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    error=$(cat /sys/module/vb3edu/parameters/other_error)
    step "$which.region" "\"errno\":$error,\"want\":0"
    /scenario/limits "$(node vb3edu)" "$which" board "$(node vb3other)" high 0x140000000 0 22 >/dev/results &
    await_program
    step "$which.program" "\"defect\":12,\"ended\":$ended,\"ok\":$ended"
    complaints "$which"
    [ "$which" = rust ] || break
    # The address of the last byte, and the device's reach.
    grep -q 'dma-mask: wanted 5368774655, found 4294967295' /sys/kernel/debug/vb2-dma-contig/refusals &&
        ok=true || ok=false
    step rust.refusal "\"ok\":$ok"
    show_debug "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
