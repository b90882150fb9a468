# The patches of docs/upstream, with memory from vmalloc beyond the importing device's reach.
#memory 5120
#needs patched
. /scenario/lib.sh

modprobe videobuf2-dma-contig
module=videobuf2-vmalloc
try() {
    use_module "$1" || return
    label=$1${patch:+.$patch}
    insmod /scenario/vb3edu.ko mask=0xffffffff other=far other_memory=vmalloc ||
        step "$label.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$label.probe" '"ok":false'
    report "$label.far-calls" 100 /scenario/limits "$(node vb3edu)" "$label" export-offset "$(node vb3other)"
    complaints "$1"
    rmmod vb3probe vb3edu
    drop_module "$1"
    patch=
}
try c
try patched
patch=export-offset try patched
