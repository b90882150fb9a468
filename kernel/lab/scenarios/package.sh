# A machine that boots with the packages installed: the kernel's tools find our modules before the stock
# ones, and drivers stream through them. After the removal, drivers use the stock ones again.
#needs package
. /scenario/lib.sh

# kmod's tools, as on an installed system; BusyBox's shell would use its own.
depmod() { /usr/sbin/depmod "$@"; }
modprobe() { /usr/sbin/modprobe "$@"; }

loaded() {
    for kind in dma-contig vmalloc; do
        [ -d /sys/kernel/debug/vb2-$kind ] && printf 'rust ' || printf 'c '
    done
}

stream() {
    depmod -a
    load_vivid allocators=1,1
    found=$(loaded)
    [ "$found" = "$1 $1 " ] && ok=true || ok=false
    step "$1.package" "\"loaded\":\"$found\",\"file\":\"$(modprobe -D videobuf2-dma-contig | tail -n 1)\",\"ok\":$ok"
    comply "$1.package.capture" -d "$capture" -s10
    comply "$1.package.output-imports" -d "$output" -s10
    complaints "$1"
    modprobe -r vivid
}

stream rust
rm -r "/usr/lib/modules/$(uname -r)/updates"
stream c
