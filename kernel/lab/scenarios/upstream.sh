# The patches of docs/upstream: the C module's defects, and the same module with all patches and with each
# alone, in one machine. upstream-far and upstream-pool have the tests with more memory and without pages.
#append init_on_alloc=0
#needs patched
. /scenario/lib.sh

[ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff

# Tests a module with vb3edu: try MODULE TEST...
# A test is one of edu's (`edu:NAME`) or of limits (`NAME` or `NAME:CALL`).
try() {
    which=$1
    shift
    use_module "$which" || return
    warn_again
    insmod /scenario/vb3edu.ko mask=$mask || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    label=$which${patch:+.$patch}
    for test; do
        case $test in
            edu:*) report "$label.edu" 250 /scenario/edu "$(node vb3edu)" "$label" patches "${test#*:}" ;;
            *:*) report "$label.calls" 250 /scenario/limits "$(node vb3edu)" "$label" "${test%:*}" "${test#*:}" ;;
            *) report "$label.$test" 250 /scenario/limits "$(node vb3edu)" "$label" "$test" ;;
        esac
        case $test in
            # The detach of a mapped buffer deserves a warning.
            calls | calls:at-zero) complaints "$which.calls" 'WARNING:.*vb2_dc_detach_dmabuf' ;;
            *) complaints "$which" ;;
        esac
    done
    rmmod vb3probe vb3edu
    drop_module "$which"
    patch=
}

modprobe videobuf2-vmalloc
try c calls edu:zeroed
# A program's memory in pieces needs an IOMMU. The stock module oopses at this test.
vmap=edu:vmap
[ "$IOMMU" = none ] && vmap=
try patched calls:race calls:at-zero edu:zeroed $vmap
patch=non-zeroed try patched edu:zeroed
patch=detach-at-zero try patched calls:at-zero
patch=userptr-vaddr try patched $vmap
patch=vaddr-race try patched calls:race

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
    [ "$(wc -l </tmp/tests)" = 3 ] || step "$1.$2" '"ok":false'
}
for kind in vmalloc dma-contig; do
    module=videobuf2-$kind
    [ $kind = vmalloc ] && allocators=0 || allocators=1
    for which in c patched; do
        # vivid needs both allocators, and takes the loaded one. BusyBox unloads unused ones with vivid.
        for other in vmalloc dma-contig; do rmmod videobuf2-$other 2>/dev/null; done
        use_module "$which" || continue
        modprobe vivid n_devs=1 allocators=$allocators
        kselftest "$which" "kselftest-$kind"
        modprobe -r vivid
        complaints "$which"
    done
done

# The kernel oopses, so this comes last.
if [ "$IOMMU" != none ]; then
    echo 0 >/proc/sys/kernel/panic_on_oops
    module=videobuf2-dma-contig
    rmmod $module 2>/dev/null
    modprobe videobuf2-vmalloc
    use_module c
    insmod /scenario/vb3edu.ko mask=$mask
    /scenario/edu "$(node vb3edu)" c patches vmap >/dev/results &
    await_program
    step c.vmap.program "\"defect\":21,\"ended\":$ended,\"ok\":$ended"
    complaints c
fi
