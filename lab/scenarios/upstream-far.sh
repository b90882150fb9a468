# The patches of docs/upstream, with memory from vmalloc beyond the importing device's reach.
#memory 5120
#needs patched
. /scenario/lib.sh

modprobe videobuf2-dma-contig
module=videobuf2-vmalloc
for which in c patched; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=0xffffffff other=far other_memory=vmalloc ||
        step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    report "$which.far-calls" 100 /scenario/limits "$(node vb3edu)" "$which" far-calls "$(node vb3other)"
    complaints "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
