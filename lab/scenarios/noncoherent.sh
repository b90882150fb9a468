# A bus on which devices see nothing of the CPU's caches, so that each sync is the kernel's upkeep of
# them: all kinds of memory by DMA and by the kernel's mapping; and for how many bytes of each QBUF and
# DQBUF caches are cleaned and invalidated, by kind of memory, direction and hint, beside what is due.
#tree noncoherent
#append init_on_alloc=0
. /scenario/lib.sh

modprobe udmabuf 2>/dev/null
# Without an IOMMU, more than a page of a program's is in pieces.
[ "$IOMMU" = none ] && mask=0xffffffff bytes=4096 || mask=0xfffffff bytes=65536
for kind in contig sg; do
    module=videobuf2-dma-$kind
    [ $kind = contig ] || modprobe videobuf2-dma-contig
    for which in $MODULES; do
        use_module "$which" || continue
        insmod /scenario/vb3edu.ko mask=$mask memory=$kind instant=1 || step "$which.driver" '"ok":false'
        check_iommu
        report "$which.maintenance-$kind" 250 /scenario/maintenance "$(node vb3edu)" \
            "$which.$kind" $bytes $kind
        rmmod vb3edu
        if [ $kind = contig ]; then
            insmod /scenario/vb3edu.ko mask=$mask || step "$which.driver" '"ok":false'
            report "$which.edu" 250 /scenario/edu "$(node vb3edu)" "$which"
            rmmod vb3edu
        fi
        complaints "$which"
        drop_module "$which"
    done
done
