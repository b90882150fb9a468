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

# The same for memory from vmalloc, which the other node allocates. The vmalloc module is its exporter.
modprobe videobuf2-dma-contig
modprobe videobuf2-dma-sg
module=videobuf2-vmalloc
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=0xffffffff other=far other_memory=vmalloc ||
        step "$which.virtual-driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.virtual-probe" '"ok":false'
    for mode in far-calls far-virtual; do
        report "$which.$mode" 100 /scenario/limits "$(node vb3edu)" "$which" $mode "$(node vb3other)"
    done
    rmmod vb3probe vb3edu
    # A device for scattered memory.
    insmod /scenario/vb3edu.ko mask=0xffffffff memory=sg other=far other_memory=vmalloc instant=1 ||
        step "$which.sg-driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.sg-probe" '"ok":false'
    report "$which.far-large" 100 /scenario/limits "$(node vb3edu)" "$which" far-large \
        "$(node vb3other)"
    complaints "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
