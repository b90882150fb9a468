# The patches of docs/upstream, with memory beyond the importing device's reach: defects of the C
# modules' exporters, and the same calls with the patches.
#memory 5120
#needs patched
. /scenario/lib.sh

# Runs one kind of memory of the exporting node, on the stock module and on the patched one.
far() {
    kind=$1
    for which in c patched; do
        use_module "$which" || continue
        insmod /scenario/vb3edu.ko mask=0xffffffff other=far other_memory=$2 ||
            step "$which.$kind-driver" '"ok":false'
        insmod /scenario/vb3probe.ko || step "$which.$kind-probe" '"ok":false'
        report "$which.$kind" 100 /scenario/limits "$(node vb3edu)" "$which" "$kind" "$(node vb3other)"
        complaints "$which"
        rmmod vb3probe vb3edu
        drop_module "$which"
    done
}

modprobe videobuf2-vmalloc
far far contig
rmmod videobuf2-vmalloc
modprobe videobuf2-dma-contig
module=videobuf2-vmalloc
far far-virtual vmalloc
