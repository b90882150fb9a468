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

# The patches' kselftest, by vivid. Only export_mmap_offset may fail, and only on the stock module.
kselftest() {
    /scenario/vb2_memory_test >/tmp/out 2>&1
    cat /tmp/out
    sed -n 's/^\(not ok\|ok\) [0-9]* [a-z0-9_]*\.\([a-z_]*\)\(.*\)/\2 \1\3/p' /tmp/out >/tmp/tests
    while read -r name result; do
        [ "$result" = ok ] && ok=true || ok=false
        [ "$name" = export_mmap_offset ] && defect='"defect":11,' || defect=
        step "$1.$2.$name" "$defect\"ok\":$ok"
    done </tmp/tests
    [ "$(wc -l </tmp/tests)" = 5 ] || step "$1.$2" '"ok":false'
}
for kind in vmalloc dma-contig; do
    module=videobuf2-$kind
    [ $kind = vmalloc ] && allocators=0 || allocators=1
    for which in c patched; do
        # vivid needs both allocators, and takes the loaded one. BusyBox unloads unused ones with vivid.
        for other in vmalloc dma-contig; do rmmod videobuf2-$other 2>/dev/null; done
        use_module "$which" || continue
        modprobe vivid n_devs=1 cache_hints=1 allocators=$allocators
        kselftest "$which" "kselftest-$kind"
        modprobe -r vivid
        complaints "$which"
    done
done
