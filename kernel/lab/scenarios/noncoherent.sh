# A bus without coherent caches, so that each sync is cache maintenance by the kernel. Tests all kinds
# of memory by DMA and by the kernel's mapping. For each QBUF and DQBUF it compares the bytes cleaned
# and invalidated with the necessary ones, by kind of memory, direction and hint. Prints a table of the
# maintenance of imports on the console.
#tree noncoherent
#append init_on_alloc=0
. /scenario/lib.sh

modprobe udmabuf 2>/dev/null
# Without an IOMMU, a program's memory longer than a page is in pieces.
[ "$IOMMU" = none ] && mask=0xffffffff bytes=4096 || mask=0xfffffff bytes=65536
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=$mask instant=1 || step "$which.driver" '"ok":false'
    check_iommu
    within 250 /scenario/maintenance "$(node vb3edu)" "$which.contig" $bytes >/tmp/out
    ended "$which.maintenance.exit" $?
    cat /tmp/out >/dev/results
    grep '\.import\.' /tmp/out >>/tmp/imports
    rmmod vb3edu
    insmod /scenario/vb3edu.ko mask=$mask || step "$which.driver" '"ok":false'
    report "$which.edu" 250 /scenario/edu "$(node vb3edu)" "$which"
    rmmod vb3edu
    complaints "$which"
    drop_module "$which"
done

echo '| import of 1 MiB | map: calls, bytes | QBUF | unmap |'
echo '|---|---|---|---|'
tr -d '"{}' </tmp/imports | tr ':' ',' | while IFS=, read -r _ name _ _ _ _ _ a _ b _ c _ d _ e _ f _; do
    echo "| $name | $a, $b | $c, $d | $e, $f |"
done
