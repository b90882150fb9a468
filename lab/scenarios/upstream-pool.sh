# The patches of docs/upstream: memory without pages, exported. The kernel trips over what the stock
# module hands out, so that comes last.
#device ivshmem
#needs patched
. /scenario/lib.sh

echo 0 >/proc/sys/kernel/panic_on_oops
modprobe videobuf2-vmalloc
[ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
for which in patched c; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=$mask other=pool || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    /scenario/limits "$(node vb3edu)" "$which" pool "$(node vb3other)" >/dev/results &
    await_program
    step "$which.program" "\"defect\":12,\"ended\":$ended,\"ok\":$ended"
    complaints "$which"
    [ "$which" = patched ] || break
    rmmod vb3probe vb3edu
    drop_module "$which"
done
