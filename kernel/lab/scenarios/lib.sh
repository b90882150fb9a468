# Shared by the scenarios. Runs in the guest's BusyBox shell.

# Prints one line of result: a step, and facts as JSON members.
step() {
    printf '{"step":"%s"%s}\n' "$1" "${2:+,$2}" >/dev/results
    echo "step: $1 $2"
}

# The module under test; a scenario may name another. `patch` is for the patched modules: the only patch that the
# module has, or empty for the module with all patches.
module=videobuf2-dma-contig
patch=

modprobe virtio_pci 2>/dev/null
[ "$IOMMU" = virtio ] && modprobe virtio-iommu

# A step that succeeds if two words are the same.
same() {
    [ "$2" = "$3" ] && ok=true || ok=false
    step "$1" "\"found\":\"$2\",\"wanted\":\"$3\",\"ok\":$ok"
}

# Whether a file has a line like the pattern.
listed() {
    grep -qE "$3" "$2" && ok=true || ok=false
    [ "$ok" = true ] || cat "$2"
    step "$1" "\"ok\":$ok"
}

# Whether vb2-why explains each refusal that it has recorded in a sentence. Writes its text to /tmp/why.
explained() {
    cat /sys/kernel/debug/vb2-why/why >/tmp/why
    cat /tmp/why
    same "$1.all" "$(grep -cE '^[^ ]+ refused ' /tmp/why)" "$(wc -l </sys/kernel/debug/vb2-why/refusals)"
    # Checks that no constraint lacks a sentence.
    same "$1.raw" "$(grep -c 'Wanted [0-9]' /tmp/why)" 0
}

# The kernel's own memory in KiB: unreclaimable slabs and vmalloc.
slab() { awk '/^(SUnreclaim|VmallocUsed):/ { kib += $2 } END { print kib }' /proc/meminfo; }

# The PCI device of the test driver.
edu_device() { grep -l 0x11e8 /sys/bus/pci/devices/*/device | sed 's|/device$||'; }

# Reports whether the test device is behind the requested IOMMU. The device's driver must be loaded.
check_iommu() {
    [ -e "$(edu_device)/iommu_group" ] && found=true || found=false
    [ "$IOMMU" = none ] && wanted=false || wanted=true
    [ "$found" = "$wanted" ] && ok=true || ok=false
    step iommu "\"kind\":\"$IOMMU\",\"translates\":$found,\"ok\":$ok"
}

# Whether the kernel has the checked kernel's checkers.
is_checked() { [ -e /sys/kernel/debug/kmemleak ]; }

# Runs a program with a limit in seconds; the checked kernel allows four times as many.
within() {
    local seconds=$1
    shift
    if is_checked; then seconds=$((seconds * 4)); fi
    timeout "$seconds" "$@"
}

# Searches for unreferenced memory, and writes the results to /tmp/leaks.
scan_for_leaks() {
    # The kernel reports no memory younger than five seconds or just changed.
    sleep 6
    echo scan >/sys/kernel/debug/kmemleak
    echo scan >/sys/kernel/debug/kmemleak
    cat /sys/kernel/debug/kmemleak >/tmp/leaks
}

# Prints the counts of silent checkers since the last call: leaked memory, faults in the use of the DMA
# API, and whether all checkers still work.
dma_errors_before=0
excused_so_far=0
checkers() {
    is_checked || return
    scan_for_leaks
    leaks=$(grep -c '^unreferenced object' /tmp/leaks)
    errors=$(($(cat /sys/kernel/debug/dma-api/error_count) - excused_so_far - dma_errors_before))
    dma_errors_before=$((dma_errors_before + errors))
    locks=$(sed -n 's/^ *debug_locks: *//p' /proc/lockdep_stats)
    blind=$(cat /sys/kernel/debug/dma-api/disabled)
    ok=true
    # A deliberate failure can hit the DMA API's checker itself; then it stops.
    [ "$blind" = "${may_be_blind:-N}" ] && blind=N
    [ "$1" != rust ] || [ "$leaks $errors $locks $blind" = '0 0 1 N' ] || ok=false
    [ "$ok" = true ] || cat /tmp/leaks
    step "$1.checkers" "\"leaks\":$leaks,\"dma_errors\":$errors,\"excused\":$excused_so_far,\"lockdep_looks\":$locks,\"dma_blind\":\"$blind\",\"ok\":$ok"
    echo clear >/sys/kernel/debug/kmemleak
}

# Leaks during boot are not ours.
if is_checked; then
    echo clear >/sys/kernel/debug/kmemleak
    echo 1 >/sys/kernel/debug/dma-api/all_errors
fi

# Loads the stock C module, ours, or the C module with the patches of docs/upstream, and its
# dependencies.
use_module() {
    for dep in mc videodev videobuf2-common videobuf2-v4l2 videobuf2-memops; do
        modprobe "$dep"
    done
    case $1 in
        c) modprobe $module ;;
        rust) insmod /scenario/$module.ko ;;
        patched) insmod /scenario/patched-${patch:+$patch-}$module.ko ;;
    esac && return
    step "$1.load" '"ok":false'
    false
}

# Unloads the module under test. Our module prints what it still holds.
drop_module() {
    rmmod $module || step "$1.unload" '"ok":false'
    if [ "$1" = rust ]; then
        # Only the last unload's line counts.
        dmesg | grep ': unloaded' | tail -n 1 | grep -q 'unloaded, nothing held' && ok=true || ok=false
        step "$1.unload" "\"ok\":$ok"
    fi
    checkers "$1"
}

# Tests that the module exports another device's memory, which has no pages. The kernel may oops on the result.
pool_of() {
    [ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
    insmod /scenario/vb3edu.ko mask=$mask other=pool || step "$1.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$1.probe" '"ok":false'
    check_iommu
    /scenario/limits "$(node vb3edu)" "$1" pool "$(node vb3other)" >/dev/results &
    await_program
    step "$1.program" "\"defect\":12,\"ended\":$ended,\"ok\":$ended"
    complaints "$1"
}

# Prints our module's debugfs files on the console, and whether the counters exist.
show_debug() {
    [ "$1" = rust ] || return
    dir=/sys/kernel/debug/vb2-${module#videobuf2-}
    for file in counters buffers refusals; do
        echo "--- $file"
        cat $dir/$file
    done
    step rust.counters "\"counters\":\"$(tr "\n" "," <$dir/counters)\""
}

# Prints the kernel memory that the loaded module uses.
module_facts() {
    printf '"bytes":%s' "$(cat "/sys/module/$(echo $module | tr - _)/coresize")"
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
    within 240 v4l2-compliance "$@" >/tmp/out 2>&1
    code=$?
    line=$(grep '^Total for' /tmp/out | tail -n 1)
    total=$(echo "$line" | sed -n 's/.*: \([0-9]*\), Succeeded.*/\1/p')
    good=$(echo "$line" | sed -n 's/.*Succeeded: \([0-9]*\),.*/\1/p')
    fails=$(grep -E '(: FAIL|fail:)' /tmp/out | tr -d '"\\' | tr -s '\t\r ' ' ' | tr '\n' '|')
    # Without an IOMMU, user memory is contiguous only by luck. Counts the tests that fail because of this.
    luck=0
    [ "$IOMMU" = none ] && luck=$(grep -c 'test USERPTR.*: FAIL' /tmp/out)
    step "$name" "\"code\":$code,\"total\":${total:-0},\"succeeded\":${good:-0},\"luck\":$luck,\"fails\":\"$fails\""
    cat /tmp/out
}

# Prints the results of conformance calls as steps: their program's exit, and each value.
results() {
    step "$which.conform.exit" "\"result\":\"$1\""
    while read -r name value; do
        step "$which.conform.$name" "\"result\":\"$value\""
    done </tmp/out
}

# conform, waits and kinds each run one program of conformance calls on a device.
conform() {
    within 120 /scenario/conform "$@" >/tmp/out
    results $?
}
waits() {
    within 120 /scenario/waits "$@" >/tmp/out
    results $?
}
kinds() {
    within 120 /scenario/kinds "$@" >/tmp/out
    results $?
}

# Runs a program that reports its own steps, with a limit in seconds. It must exit with 0, because
# missing steps would go unnoticed.
report() {
    name=$1
    shift
    within "$@" >/dev/results
    ended "$name.exit" $?
}

# A step that succeeds if a program reported success.
ended() {
    [ "$2" = 0 ] && ok=true || ok=false
    step "$1" "\"code\":$2,\"ok\":$ok"
}

# Writes a log's complaints to a file. Complaints that occur with every module go to another file, by kind, and
# are counted. They come from the DMA API's checker, for these reasons: A program may use one memory for two
# buffers. vivid, vicodec, vim2m and vkms do not set their longest segment. The system heap and udmabuf sync in
# the program's direction, not the mapping's. A program's contiguous memory is mapped in one piece across
# segment boundaries; dma-contig's drivers only use its first address. In `unplug`, a program holds
# $held_beyond buffers of a removed device. Not counted at all: 6.12 warns if it has no memory for the page tables
# of a program's mapping.
excuse() {
    : >"$2"
    : >"$2.excused"
    awk -v to="$2" -v held="${held_beyond:-none}" '
        { line[NR] = $0 }
        # Whether the call trace of the report on this line contains one of these.
        function led_by(i, calls,    j) {
            for (j = i + 1; j < i + 80 && j <= NR && line[j] !~ /end trace/; j++)
                if (line[j] ~ calls)
                    return 1
            return 0
        }
        END {
            for (i = 1; i <= NR; i++) {
                kind = ""
                if (line[i] ~ /cacheline tracking EEXIST/)
                    kind = "one memory at two buffers"
                else if (line[i] ~ /(vivid|vicodec|vim2m|vkms).*mapping sg segment longer than device claims/)
                    kind = "segment length of " (line[i] ~ /vivid/ ? "vivid" : line[i] ~ /vicodec/ ? "vicodec" : line[i] ~ /vim2m/ ? "vim2m" : "vkms")
                else if (line[i] ~ /DMA-API: .*device driver syncs / && led_by(i, "system_heap_|udmabuf"))
                    kind = led_by(i, "system_heap_") ? "sync by the system heap" : "sync by udmabuf"
                else if (line[i] ~ /mapping sg segment across boundary/ &&
                    led_by(i, "vb(3_op|2_dc)_get_userptr"))
                    kind = "user memory across a boundary"
                else if (index(line[i], "has pending DMA allocations while released from device [count=" held "]")) {
                    kind = "buffers held beyond their device"
                    excused[i + 2] = 1
                }
                if (kind != "") {
                    excused[i + 1] = 1
                    kinds[kind]++
                    count++
                }
                if (line[i] ~ /WARNING:.* get_pat_info/ && led_by(i, "remap_pfn_range_notrack"))
                    excused[i] = 1
            }
            for (i = 1; i <= NR; i++)
                if (!(i in excused) &&
                    line[i] ~ /WARNING:|BUG[: ]|UBSAN:|ODEBUG:|Oops|Out of memory|oom-kill|refcount_t|[Uu]nable to handle|blocked for more than|detected stall/)
                    print line[i] >to
            for (kind in kinds)
                printf "%d %s, ", kinds[kind], kind >(to ".excused")
            print count + 0
        }' "$1"
}

# Counts the kernel's complaints since the last call, without those of a pattern: complaints NAME [PATTERN]
# The C module's defects cause some; those are reported, but do not fail the run.
complaints() {
    dmesg -c >/tmp/dmesg.now
    excused_now=$(excuse /tmp/dmesg.now /tmp/complaints)
    excused_so_far=$((excused_so_far + excused_now))
    [ -z "${2:-}" ] || sed -i "/$2/d" /tmp/complaints
    count=$(wc -l </tmp/complaints)
    first=$(head -n 1 /tmp/complaints | tr -d '"\\\\' | tr -cd ' -~')
    ok=true
    case $1:$count in [rp]*:0) ;; rust*:* | patched*:*) ok=false ;; esac
    [ "$ok" = true ] || cat /tmp/dmesg.now
    step "$1.complaints" "\"count\":$count,\"first\":\"$first\",\"excused\":\"$(cat /tmp/complaints.excused)\",\"ok\":$ok"
}

# Makes the kernel repeat its one-time warnings.
warn_again() { echo 1 >/sys/kernel/debug/clear_warn_once; }

# Loads vivid with a capture and an output node, $capture and $output; takes more parameters.
load_vivid() {
    modprobe vivid n_devs=1 multiplanar=1 num_inputs=1 input_types=0x00 \
        num_outputs=1 output_types=0x00 node_types=0x101 no_error_inj=1 "$@"
    capture=$(node vivid-000-vid-cap)
    output=$(node vivid-000-vid-out)
}

# Runs v4l2-compliance on both of vivid's nodes, alone and with the other's buffers.
comply_vivid() {
    comply "$1.capture" -d "$capture" -s10
    comply "$1.output" -d "$output" -s10
    comply "$1.capture-imports" -d "$capture" -s10 -e "$output"
    # An exporter's buffers must be no smaller than the importer's.
    v4l2-ctl -d "$capture" --set-fmt-video=width=1280,height=720
    comply "$1.output-imports" -d "$output" -s10 -e "$capture"
}

# Sets `ended`: whether the program started last exits by itself. After an oops in it, it never does.
await_program() {
    program=$!
    ended=false
    for second in $(seq 1 60); do
        dmesg | grep -qE 'BUG: unable|Unable to handle' && break
        kill -0 $program 2>/dev/null || { ended=true && break; }
        sleep 1
    done
}

# Mounts the host's files on /root, with a layer in memory that takes changes. The scenario needs the line `#share /`.
host_root() {
    for dep in 9pnet_virtio 9p overlay; do
        modprobe $dep
    done
    ifconfig lo up
    mkdir -p /ro /rw /root
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072,ro,cache=loose share /ro &&
        mount -t tmpfs -o size=75% rw /rw && mkdir /rw/upper /rw/work &&
        mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work root /root || return
    for part in proc:proc sysfs:sys devtmpfs:dev tmpfs:dev/shm devpts:dev/pts tmpfs:tmp tmpfs:run; do
        mkdir -p "/root/${part#*:}"
        mount -t "${part%:*}" "${part%:*}" "/root/${part#*:}"
    done
}
