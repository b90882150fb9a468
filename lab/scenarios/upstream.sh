# The patches of docs/upstream: defects of the C module, and the same module with the patches, in the
# same machine. upstream-far and upstream-pool have the tests with more memory and without pages.
#append init_on_alloc=0
#needs patched
. /scenario/lib.sh

[ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
modprobe videobuf2-vmalloc
for which in c patched; do
    use_module "$which" || continue
    warn_again
    insmod /scenario/vb3edu.ko mask=$mask || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    report "$which.calls" 250 /scenario/limits "$(node vb3edu)" "$which" calls
    # The detach of a mapped buffer deserves a warning.
    complaints "$which.calls"
    # Behind an IOMMU, the stock module oopses at this. Without one, it has no kernel mapping of such
    # memory.
    case $IOMMU.$which in
        none.* | *.c) more= ;;
        *) more=vmap ;;
    esac
    report "$which.edu" 250 /scenario/edu "$(node vb3edu)" "$which" patches $more
    complaints "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done

modprobe videobuf2-dma-contig
module=videobuf2-dma-sg
for which in c patched; do
    use_module "$which" || continue
    warn_again
    insmod /scenario/vb3edu.ko mask=$mask memory=sg || step "$which.sg-driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.sg-probe" '"ok":false'
    report "$which.sg-calls" 250 /scenario/limits "$(node vb3edu)" "$which.sg" remap
    complaints "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
