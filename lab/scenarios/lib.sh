# What scenarios share. Runs in the guest's BusyBox shell.

# One line of result: a step, and facts as JSON members.
step() {
    printf '{"step":"%s"%s}\n' "$1" "${2:+,$2}" >/dev/ttyS1
    echo "step: $1 $2"
}

modprobe virtio_pci 2>/dev/null
[ "$IOMMU" = virtio ] && modprobe virtio-iommu

# Whether the test device is behind the IOMMU that was asked for; known once its driver is loaded.
check_iommu() {
    for device in /sys/bus/pci/devices/*; do
        [ "$(cat "$device/device")" = 0x11e8 ] || continue
        [ -e "$device/iommu_group" ] && found=true || found=false
        [ "$IOMMU" = none ] && wanted=false || wanted=true
        [ "$found" = "$wanted" ] && ok=true || ok=false
        step iommu "\"kind\":\"$IOMMU\",\"translates\":$found,\"ok\":$ok"
    done
}

# Loads the stock C module or ours, with what it needs.
use_module() {
    for dep in mc videodev videobuf2-common videobuf2-v4l2 videobuf2-memops; do
        modprobe "$dep"
    done
    case $1 in
        c) modprobe videobuf2-dma-contig ;;
        rust) insmod /scenario/videobuf2-dma-contig.ko ;;
    esac && return
    step "$1.load" '"ok":false'
    false
}

# Unloads it; ours says what it still holds.
drop_module() {
    rmmod videobuf2-dma-contig || step "$1.unload" '"ok":false'
    if [ "$1" = rust ]; then
        if dmesg | tail -n 5 | grep -q 'unloaded, nothing held'; then
            step "$1.unload" '"ok":true'
        else
            step "$1.unload" "\"ok\":false"
        fi
    fi
}

# What our module tells in debugfs, on the console, and whether the counters are there.
show_debug() {
    [ "$1" = rust ] || return
    dir=/sys/kernel/debug/vb2-dma-contig
    for file in counters buffers refusals; do
        echo "--- $file"
        cat $dir/$file
    done
    step rust.counters "\"counters\":\"$(tr "\n" "," <$dir/counters)\""
}

# What the loaded module takes of the kernel's memory.
module_facts() {
    printf '"bytes":%s' "$(cat /sys/module/videobuf2_dma_contig/coresize)"
}

# The device node of the video device with this name.
node() {
    for dir in /sys/class/video4linux/*; do
        if [ "$(cat "$dir/name")" = "$1" ]; then
            echo "/dev/${dir##*/}"
            return
        fi
    done
    step "node" "\"ok\":false,\"missing\":\"$1\""
    dmesg | tail -n 20 >/dev/console
}

# Runs v4l2-compliance and reports its totals.
comply() {
    name=$1
    shift
    timeout 240 v4l2-compliance "$@" >/tmp/out 2>&1
    code=$?
    line=$(grep '^Total for' /tmp/out | tail -n 1)
    total=$(echo "$line" | sed -n 's/.*: \([0-9]*\), Succeeded.*/\1/p')
    good=$(echo "$line" | sed -n 's/.*Succeeded: \([0-9]*\),.*/\1/p')
    fails=$(grep -E '(: FAIL|fail:)' /tmp/out | tr -d '"\\' | tr -s '\t\r ' ' ' | tr '\n' '|')
    # Whether user memory happens to be in one piece.
    luck=0
    [ "$IOMMU" = none ] && luck=$(grep -c 'test USERPTR.*: FAIL' /tmp/out)
    step "$name" "\"code\":$code,\"total\":${total:-0},\"succeeded\":${good:-0},\"luck\":$luck,\"fails\":\"$fails\""
    cat /tmp/out
}

# Runs a program that reports its own steps, for at most so many seconds. It must end well: steps
# that it did not come to would be missed by nobody.
report() {
    name=$1 limit=$2
    shift 2
    timeout "$limit" "$@" >/dev/ttyS1
    ended "$name.exit" $?
}

# A step that went well if a program said so.
ended() {
    [ "$2" = 0 ] && ok=true || ok=false
    step "$1" "\"code\":$2,\"ok\":$ok"
}

# Counts the kernel's complaints since the last call. The C module's defects cause some: they are
# told, and are no fault of the run.
complaints() {
    dmesg >/tmp/dmesg.now
    dmesg -c >/dev/null
    grep -E 'WARNING:|BUG:|Oops|Out of memory|oom-kill' /tmp/dmesg.now >/tmp/complaints
    count=$(wc -l </tmp/complaints)
    first=$(head -n 1 /tmp/complaints | tr -d '"\\\\' | tr -cd ' -~')
    ok=true
    [ "$1" = c ] || [ "$count" = 0 ] || ok=false
    [ "$ok" = true ] || cat /tmp/dmesg.now
    step "$1.complaints" "\"count\":$count,\"first\":\"$first\",\"ok\":$ok"
}
