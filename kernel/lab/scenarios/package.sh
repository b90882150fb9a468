# A machine that boots with the package installed: the kernel's tools find our module before the stock
# one, and drivers stream through it. After the removal, drivers use the stock one again.
#needs package
. /scenario/lib.sh

# kmod's tools, as on an installed system; BusyBox's shell would use its own.
depmod() { /usr/sbin/depmod "$@"; }
modprobe() { /usr/sbin/modprobe "$@"; }

stream() {
    depmod -a
    load_vivid allocators=1,1
    [ -d /sys/kernel/debug/vb2-dma-contig ] && found=rust || found=c
    [ "$found" = "$1" ] && ok=true || ok=false
    step "$1.package" "\"loaded\":\"$found\",\"file\":\"$(modprobe -D videobuf2-dma-contig | tail -n 1)\",\"ok\":$ok"
    comply "$1.package.capture" -d "$capture" -s10
    comply "$1.package.output-imports" -d "$output" -s10
    complaints "$1"
    modprobe -r vivid
}

stream rust
rm -r "/usr/lib/modules/$(uname -r)/updates"
stream c
