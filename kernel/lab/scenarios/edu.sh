# A device with real DMA: every kind of memory, on the C module and ours.
#append init_on_alloc=0
. /scenario/lib.sh

modprobe udmabuf 2>/dev/null
for which in $MODULES; do
    use_module "$which" || continue
    # Without an IOMMU, a narrow mask would refuse memory at high addresses.
    [ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
    insmod /scenario/vb3edu.ko mask=$mask || step "$which.driver" '"ok":false'
    check_iommu
    node=$(node vb3edu)
    report "$which.edu" 250 /scenario/edu "$node" "$which"
    complaints "$which"
    show_debug "$which"
    rmmod vb3edu
    drop_module "$which"
done
