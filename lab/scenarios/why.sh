# vb2-why with the stock modules: debugfs has each refusal's reason and each buffer's holders. Probes
# are armed and disarmed during streaming.
#memory 5120
#append cma=0
. /scenario/lib.sh

dir=/sys/kernel/debug/vb2-why
switch=/sys/module/vb2_why/parameters/enabled
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled

# Whether the file has a line like the pattern.
listed() {
    grep -qE "$3" "$dir/$2" && ok=true || ok=false
    [ "$ok" = true ] || cat "$dir/$2"
    step "why.$1" "\"ok\":$ok"
}

# How many probes of stock functions are armed.
armed() { grep -c ' armed,' $dir/probes; }

same() {
    [ "$2" = "$3" ] && ok=true || ok=false
    step "why.$1" "\"found\":\"$2\",\"wanted\":\"$3\",\"ok\":$ok"
}

# Loaded first: it must find the modules when they load.
insmod /scenario/vb2-why.ko || step why.load '"ok":false'
use_module c
modprobe videobuf2-vmalloc
insmod /scenario/vb3planes.ko || step why.driver '"ok":false'
cat $dir/probes
same probes "$(grep -E '^(vb2_(dc|vmalloc|common|buffer)|dma_)' $dir/probes | grep -vc ' armed, missed 0$')" 0
mount -t tracefs trace /sys/kernel/tracing
echo 1 >/sys/kernel/tracing/events/vb2_why/enable
report why.planes 250 /scenario/planes "$(node vb3planes)" "$(node vb3crossed)" c
cat $dir/refusals
would='; would do: '
listed lent-mask refusals "^[0-9]+ vb3near, planes\[[0-9]+\], [0-9]+ s ago: a dma-buf, dma-mask: wanted [0-9]{10,}, found 4294967295, [0-9]+ segments, longest [0-9]+, errno 22${would}memory up to the address found"
listed user-mask refusals "vb3near, .*: user memory, dma-mask: wanted [0-9]{10,}, found 4294967295, .*errno 5$would"
listed user-pieces refusals "vb3wide, .*: user memory, contiguous: wanted 65536, found [0-9]+, [0-9]+ segments, 1 wanted, errno 14${would}memory in one piece"
listed user-nothing refusals "vb3wide, .*: user memory, user-pages: wanted 16, found 0, errno 14$would"
listed too-small refusals "vb3near, .*: a dma-buf, buffer-size: wanted 1048576, found 65536, errno 14${would}a dma-buf of the size wanted"
listed too-long-near refusals "vb3near, .*: an allocation, cma-size: wanted 67108864, found [0-9]+, largest free block [0-9]+, CMA free 0, errno 12$would"
listed too-long-wide refusals "vb3wide, .*: an allocation, cma-size: wanted 67108864, found 4194304, "
grep -q 'vb2_refused: vb3wide: an allocation, cma-size: wanted 67108864' /sys/kernel/tracing/trace && ok=true || ok=false
step why.trace "\"ok\":$ok"
rmmod vb3planes
same buffers-gone "$(wc -l <$dir/buffers)" 0

# After the parameter is cleared, no probe is armed; the list of refusals stays.
echo 0 >$switch
same off "$(armed)" 0
grep -c . /sys/kernel/debug/kprobes/list >/tmp/left
same kprobes-left "$(cat /tmp/left)" 0
lines=$(wc -l <$dir/refusals)
insmod /scenario/vb3planes.ko
/scenario/planes "$(node vb3planes)" "$(node vb3crossed)" c >/dev/null
same off-refusals "$(wc -l <$dir/refusals)" "$lines"
rmmod vb3planes
# The stock kernel warns of an allocation that is too long.
complaints c

# vivid's output imports a buffer of vivid's capture. The list has exporter and importer, and also
# buffers from before the probes.
load_vivid allocators=1
v4l2-ctl -d "$output" --set-fmt-video-out=width=640,height=360
v4l2-ctl -d "$capture" --set-fmt-video=width=640,height=360
v4l2-ctl -d "$capture" --stream-mmap=4 --stream-count=100000000 >/dev/null 2>&1 &
stream=$!
echo 1 >$switch
until grep -q MMAP $dir/buffers; do usleep 50000; done
listed found buffers "^vivid[^:]*: MMAP, [0-9]+ bytes, by .*, references [1-9]"

# Loaded and removed during streaming, with a concurrent reader.
rounds=12
done=0
for round in $(seq 1 $rounds); do
    cat $dir/refusals $dir/buffers $dir/probes >/dev/null 2>&1 &
    # The reader has the module open for a moment.
    until rmmod vb2_why 2>/dev/null; do :; done
    insmod /scenario/vb2-why.ko && done=$((done + 1))
    [ $((round % 4)) = 0 ] && step why.rounds "\"done\":$round,\"uptime\":$(cut -d. -f1 /proc/uptime)"
done
same reloads $done $rounds
kill -0 $stream && ok=true || ok=false
step why.still-streams "\"ok\":$ok"
until grep -q MMAP $dir/buffers; do usleep 50000; done
kill $stream
wait $stream 2>/dev/null
cat $dir/buffers
rmmod vivid
same buffers-of-vivid "$(wc -l <$dir/buffers)" 0
rmmod videobuf2-dma-contig
same unloaded "$(grep '^vb2_dc' $dir/probes | grep -c ' armed,')" 0
same complaints "$(dmesg | grep -cE 'WARNING:|BUG:|Oops')" 0
rmmod vb2_why || step why.remove '"ok":false'
