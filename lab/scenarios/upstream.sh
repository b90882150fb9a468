# The patches of docs/upstream: what the C module gets wrong, and the same module with the patches, in
# the same machine.
#append init_on_alloc=0
#needs patched
. /scenario/lib.sh

modprobe videobuf2-vmalloc
for which in c patched; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    report "$which.calls" 250 /scenario/limits "$(node vb3edu)" "$which" calls
    report "$which.edu" 250 /scenario/edu "$(node vb3edu)" "$which" zero
    complaints "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
rmmod videobuf2-vmalloc
modprobe videobuf2-dma-contig
module=videobuf2-vmalloc
for which in c patched; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko other=far other_memory=vmalloc ||
        step "$which.virtual-driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.virtual-probe" '"ok":false'
    report "$which.virtual" 100 /scenario/limits "$(node vb3edu)" "$which" far-virtual \
        "$(node vb3other)"
    complaints "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
