# Memory in pieces for a device with segment boundaries: our module links it into one range if the
# kernel allows drivers that; other exporters' memory on request only.
. /scenario/lib.sh

echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko boundary=0xffff || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    case $which-$(uname -r) in
        rust-6.1[0-5].*) want=14 ;;
        *) want=0 ;;
    esac
    [ "$which" = rust ] && foreign=14 || foreign=$want
    report "$which.links" 250 /scenario/limits "$(node vb3edu)" "$which" links "$want" "$foreign"
    if [ "$which" = rust ]; then
        echo Y >/sys/module/videobuf2_dma_contig/parameters/link_foreign
        report rust.foreign 250 /scenario/limits "$(node vb3edu)" rust.foreign links "$want" "$want"
        echo N >/sys/module/videobuf2_dma_contig/parameters/link_foreign
    fi
    # Needs our module, for its deliberate failures, and a newer kernel, for ranges over pieces.
    case $which-$want in
        rust-0) report "$which.partial" 250 /scenario/limits "$(node vb3edu)" "$which" partial ;;
    esac
    report "$which.calls" 250 /scenario/limits "$(node vb3edu)" "$which" calls
    complaints "$which"
    show_debug "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
