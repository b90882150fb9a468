# A device that must not see other data in its memory's pages: the kernel bounces memory that begins or
# ends within a page.
#append swiotlb=force iommu.strict=1
. /scenario/lib.sh

echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko boundary=0xffff untrusted=1 || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    case $which-$(uname -r) in
        rust-6.1[0-5].*) whole=14 ;;
        rust-*) whole=0 ;;
        *) whole=14 ;;
    esac
    report "$which.untrusted" 250 /scenario/limits "$(node vb3edu)" "$which" untrusted "$whole" 14
    step "$which.bounce-slots" "\"used\":$(cat /sys/kernel/debug/swiotlb/io_tlb_used_hiwater)"
    complaints "$which"
    show_debug "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
