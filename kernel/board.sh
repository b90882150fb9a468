#!/bin/sh
# Compares the stock allocator of a board with ours: stock, ours, stock again. Prints one Markdown table.
#
#   board.sh DEVICE OURS DRIVER... >table.md
#
# DEVICE is a capture device such as /dev/video0, OURS our videobuf2-*.ko (may be compressed), and each
# DRIVER a kernel module to load, in this order, for example: bcm2835_unicam. Name all that use the allocator
# (`ls /sys/module/videobuf2_dma_contig/holders`). Run it as root, on an idle board. It needs v4l-utils. With
# gst-launch-1.0 and a connected display it also shows the camera there.
# FRAMES (100) is the number of frames of each stream, LOGS (./board-logs) the directory of all output.
set -u

[ $# -ge 3 ] || { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2; }
device=$1
ours=$2
shift 2
frames=${FRAMES:-100}
logs=${LOGS:-board-logs}
name=$(basename "$ours")
name=${name%%.ko*}
stock=$(find "/lib/modules/$(uname -r)/kernel" -name "$name.ko*" | head -n 1)
for tool in v4l2-compliance v4l2-ctl; do
    command -v $tool >/dev/null || { echo "error: there is no $tool; install v4l-utils" >&2; exit 1; }
done
[ -e "$ours" ] || { echo "error: there is no $ours" >&2; exit 1; }
[ -n "$stock" ] || { echo "error: this kernel has no module $name; is it built in?" >&2; exit 1; }
mkdir -p "$logs"
loaded=/sys/module/$(echo "$name" | tr - _)
tracing=/sys/kernel/tracing
# The folder of our module is in debugfs.
[ -d /sys/kernel/debug/tracing ] || mount -t debugfs debugfs /sys/kernel/debug
[ -e $tracing/kprobe_events ] || mount -t tracefs tracefs $tracing 2>/dev/null || tracing=/sys/kernel/debug/tracing

# Prints the processor time of all programs and of the kernel so far, in ticks of 10 ms.
busy() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 + $9 }' /proc/stat; }
per_frame() { awk -v n="$1" -v frames="$frames" -v unit="$2" 'BEGIN { printf "%.2f", n * unit / frames }'; }

# Counts the kernel's cache maintenance, if its functions can be probed.
watch() {
    maintains=false
    for way in device cpu; do
        [ "$(uname -m)" = aarch64 ] && bytes='bytes=%x1:u64' || bytes=
        echo "p:vb3board/$way arch_sync_dma_for_$way $bytes" >>$tracing/kprobe_events && maintains=true
    done 2>/dev/null
    [ $maintains = false ] || echo 1 >$tracing/events/vb3board/enable
}
unwatch() {
    [ -d $tracing/events/vb3board ] || return
    echo 0 >$tracing/events/vb3board/enable
    echo '-:vb3board/device' >>$tracing/kprobe_events
    echo '-:vb3board/cpu' >>$tracing/kprobe_events
}
trap unwatch EXIT
trap 'exit 130' INT TERM

# Streams by a command: prints whether it worked, processor time and cache maintenance of a frame.
# v4l2-ctl succeeds also without frames; it prints "<" for each.
stream() {
    log=$logs/$round-$1
    shift
    watch
    [ $maintains = false ] || echo >$tracing/trace
    before=$(busy)
    timeout 300 "$@" >"$log" 2>&1 && result=ok || result="failed ($?)"
    after=$(busy)
    got=$(tr -cd '<' <"$log" | wc -c)
    [ "$1 $result" != 'v4l2-ctl ok' ] || [ "$got" = "$frames" ] || result="failed ($got of $frames frames)"
    calls='not known'
    if [ $maintains = true ]; then
        cp $tracing/trace "$log.trace"
        hits=$(awk '/vb3board|^ *(device|cpu) / { n += $2 } END { print n + 0 }' $tracing/kprobe_profile)
        bytes=$(sed -n 's/.*bytes=\([0-9]*\).*/\1/p' "$log.trace" | awk '{ n += $1 } END { print n + 0 }')
        # The kernel keeps the last events only.
        grep -q 'entries-in-buffer/entries-written: \([0-9]*\)/\1 ' "$log.trace" &&
            kib="$(per_frame "$bytes" 0.0009765625) KiB" || kib='KiB not known'
        calls="$(per_frame "$hits" 1), $kib"
    fi
    unwatch
    echo "$result; $(per_frame $((after - before)) 10) ms; $calls"
}

# Lines of the table: row NAME VALUE adds a value of this round.
row() { printf '%s\t%s\n' "$1" "$2" >>"$logs/$round.rows"; }

measure() {
    round=$1
    module=$2
    shift 2
    rm -f "$logs/$round.rows"
    for driver in $backwards; do rmmod "$driver" 2>/dev/null; done
    rmmod "$name" 2>/dev/null
    # What the module depends on is loaded by loading and unloading the installed one.
    modprobe "$name" && rmmod "$name"
    mark="board.sh $$: $round"
    echo "$mark" >/dev/kmsg
    insmod "$module"
    in_use=stock
    [ ! -d "/sys/kernel/debug/vb2-${name#videobuf2-}" ] || in_use=ours
    if [ "$in_use" != "${round%%-*}" ] || [ ! -d "$loaded" ]; then
        echo "error: $name cannot be exchanged for $module; name all drivers that use it: $(ls "$loaded/holders")" >&2
        modprobe "$name"
        for driver; do modprobe "$driver"; done
        exit 1
    fi
    for driver; do modprobe "$driver"; done
    # The device's node appears when its driver has probed.
    command -v udevadm >/dev/null && udevadm settle
    row 'in use' "$in_use"
    row 'bytes when loaded' "$(cat "$loaded/coresize")"
    timeout 600 v4l2-compliance -d "$device" -s"$frames" >"$logs/$round-compliance" 2>&1
    row 'v4l2-compliance' "$(sed -n 's/^Total for .*: \([0-9]*\), Succeeded: \([0-9]*\),.*/\2 of \1/p' "$logs/$round-compliance" | tail -n 1)"
    row 'capture: result; CPU, cache maintenance of a frame' \
        "$(stream capture v4l2-ctl -d "$device" --stream-mmap --stream-count="$frames")"
    if command -v gst-launch-1.0 >/dev/null && grep -qsx connected /sys/class/drm/*/status; then
        row 'camera to display: the same' "$(stream display gst-launch-1.0 -q v4l2src device="$device" \
            io-mode=dmabuf num-buffers="$frames" ! kmssink)"
    else
        row 'camera to display: the same' 'no gst-launch-1.0, or no display'
    fi
    dmesg >"$logs/$round-dmesg"
    if grep -q "$mark" "$logs/$round-dmesg"; then
        sed -i "1,/$mark/d" "$logs/$round-dmesg"
        whole=
    else
        whole=' (in the whole log, which was full)'
    fi
    row 'warnings of the kernel' "$(grep -cE 'WARNING:|BUG:|Oops|Unable to handle' "$logs/$round-dmesg")$whole"
    refusals=/sys/kernel/debug/vb2-${name#videobuf2-}/refusals
    [ ! -e "$refusals" ] || cp "$refusals" "$logs/$round-refusals"
}

backwards=
for driver; do backwards="$driver $backwards"; done
measure stock "$stock" "$@"
measure ours "$ours" "$@"
measure stock-again "$stock" "$@"

model=$(tr -d '\0' </proc/device-tree/model 2>/dev/null || uname -m)
echo "$name on $model, Linux $(uname -r), $(date -u +%F), $frames frames of $device ($*)"
echo
echo '| | stock | ours | stock again |'
echo '|---|---|---|---|'
cut -f1 "$logs/stock.rows" | while read -r what; do
    printf '| %s' "$what"
    for round in stock ours stock-again; do
        printf ' | %s' "$(awk -F'\t' -v what="$what" '$1 == what { print $2 }' "$logs/$round.rows")"
    done
    echo ' |'
done
