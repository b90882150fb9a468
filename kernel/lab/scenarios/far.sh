# Memory beyond the importing device's reach, through the kernel's bounce pool: a missing sync shows old
# bytes.
#memory 5120
. /scenario/lib.sh

for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=0xffffffff other=far || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    report "$which.far" 100 /scenario/limits "$(node vb3edu)" "$which" far "$(node vb3other)"
    step "$which.bounce-slots" "\"used\":$(cat /sys/kernel/debug/swiotlb/io_tlb_used_hiwater)"
    complaints "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
