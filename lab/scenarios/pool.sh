# Memory without pages, of another device: exported, and imported by physical address. The stock
# module hands out a page that is none, and the kernel trips over it; so it comes last.
#device ivshmem
. /scenario/lib.sh

echo 0 >/proc/sys/kernel/panic_on_oops
for which in rust c; do
    case " $MODULES " in *" $which "*) ;; *) continue ;; esac
    use_module "$which" || continue
    [ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
    insmod /scenario/vb3edu.ko mask=$mask other=pool || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    /scenario/limits "$(node vb3edu)" "$which" pool "$(node vb3other)" >/dev/results &
    await_program
    step "$which.program" "\"defect\":12,\"ended\":$ended,\"ok\":$ended"
    complaints "$which"
    [ "$which" = rust ] || break
    show_debug "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
