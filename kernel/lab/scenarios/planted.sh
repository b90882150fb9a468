# Each checker of the checked kernel must find the fault planted for it.
. /scenario/lib.sh

# A fault, and the kernel's expected report.
plant() {
    dmesg -c >/dev/null
    insmod /scenario/vb3planted.ko fault="$1" 2>/dev/null
    [ "$1" = leak ] && scan_for_leaks
    dmesg >/tmp/planted
    [ "$1" = leak ] && cat /tmp/leaks >>/tmp/planted
    found=$(grep -E "$2" /tmp/planted | head -n 1 | tr -d '"\\' | tr -cd ' -~')
    [ -n "$found" ] && ok=true || ok=false
    [ "$ok" = true ] || cat /tmp/planted
    step "planted.$1" "\"ok\":$ok,\"found\":\"$found\""
    dmesg -c >/dev/null
}

# This one is first, because any other report disables its checker.
plant lock-order 'WARNING: possible circular locking dependency'
plant leak 'unreferenced object .*size 4096'
plant use-after-free 'BUG: KASAN: slab-use-after-free in use_after_free'
echo 1 >/sys/kernel/debug/dma-api/all_errors
plant unmapped-dma 'DMA-API: .*device driver tries to free DMA memory'
plant shift 'UBSAN: shift-out-of-bounds'
plant object 'ODEBUG: free active'
plant list 'list_del corruption'
plant atomic-sleep 'BUG: sleeping function called from invalid context'
