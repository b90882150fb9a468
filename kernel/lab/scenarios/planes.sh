# A queue with planes of two devices, one of which does not reach all memory. Checks each plane's
# address, the bytes that arrive, and each device's refusals. Our module's log names the device, the
# reason and the remedy. A thousand refusals keep no reference to their device.
#memory 5120
#append cma=0
. /scenario/lib.sh

echo madvise >/sys/kernel/mm/transparent_hugepage/enabled

# Whether the log has a line with all parts of our message. It shows no physical addresses.
logged() {
    [ "$4" = dma-mask ] && numbers='' || numbers=': wanted [0-9]*, found [0-9]*'
    dmesg | grep -q "platform vb3$2: vb2-dma-contig: $3 refused ($4$numbers); would do: $5" &&
        ok=true || ok=false
    step "rust.log.$1" "\"ok\":$ok"
}

for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3planes.ko || step "$which.driver" '"ok":false'
    report "$which.planes" 250 /scenario/planes "$(node vb3planes)" "$(node vb3crossed)" "$which" leaks
    if [ "$which" = rust ]; then
        logged near-mask near 'a shared buffer' dma-mask 'memory up to the address found'
        [ ! -e /dev/dma_heap/system ] || logged near-exporter near 'a dma-buf' exporter-errno 'memory that this device reaches'
        logged near-user near 'user memory' dma-mask 'memory up to the address found'
        logged wide-pieces wide 'user memory' contiguous 'memory in one piece'
        logged wide-size wide 'an allocation' cma-size 'smaller or fewer buffers'
    fi
    complaints "$which"
    show_debug "$which"
    rmmod vb3planes
    drop_module "$which"
done
