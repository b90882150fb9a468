# Memory in pieces for a device with segment boundaries: our module links it into one range if the
# kernel allows drivers that; other exporters' memory on request only. If the IOMMU translates nothing
# (`--append iommu.passthrough=1`), no memory can be linked, and our module answers as the C module does.
. /scenario/lib.sh

is_identity=false mask=0xfffffff
case " $(cat /proc/cmdline) " in
    *' iommu.passthrough=1 '*) is_identity=true mask=0xffffffff ;;
esac
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=$mask boundary=0xffff || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    check_iommu
    case $is_identity-$which-$(uname -r) in
        true-*) want=-1 ;;
        *-rust-6.1[0-5].*) want=14 ;;
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
