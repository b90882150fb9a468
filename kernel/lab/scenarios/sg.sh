# The dma-sg allocator, on the C module and ours: every kind of memory by DMA and by the kernel's
# mapping, errnos, old contents, the conformance calls of user pointers; and random operations.
#append init_on_alloc=0
. /scenario/lib.sh

modprobe udmabuf 2>/dev/null
modprobe videobuf2-dma-contig
module=videobuf2-dma-sg
[ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=$mask memory=sg || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    step "$which.module" "$(module_facts)"
    edu=$(node vb3edu)
    report "$which.sg" 250 /scenario/edu "$edu" "$which" sg
    kinds userptr "$edu"
    complaints "$which"
    # A buffer skips syncs only if its user asks for that.
    [ "$which" = c ] || listed rust.skipped /sys/kernel/debug/vb2-dma-sg/counters '^skipped 0$'
    show_debug "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done

# The stock module has no deliberate failures; its run is useful only with checkers.
is_checked || MODULES=rust
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=$mask memory=sg instant=1
    within 100 /scenario/stress "$(node vb3edu)" 1 5000
    ended "$which.random" $?
    if [ "$which" = rust ]; then
        for every in 0 2 3 7; do
            echo $every >/sys/module/videobuf2_dma_sg/parameters/fail_every
            within 100 /scenario/stress "$(node vb3edu)" "$every" 5000 foreign
            ended "rust.random-failing-each-$every" $?
        done
    fi
    complaints "$which"
    rmmod vb3edu
    drop_module "$which"
done
