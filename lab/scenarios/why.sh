# vb2-why with the stock modules: debugfs has each refusal's reason and each buffer's holders. `reloads`
# loads and removes it often.
#memory 5120
#append cma=0
. /scenario/lib.sh

dir=/sys/kernel/debug/vb2-why
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled

# Whether the file has a line like the pattern.
listed() {
    grep -qE "$3" "$dir/$2" && ok=true || ok=false
    [ "$ok" = true ] || cat "$dir/$2"
    step "why.$1" "\"ok\":$ok"
}

# How many probes are armed, of functions like the pattern.
armed() { grep -cE " r .*$1" /sys/kernel/debug/kprobes/list; }

same() {
    [ "$2" = "$3" ] && ok=true || ok=false
    step "why.$1" "\"found\":\"$2\",\"wanted\":\"$3\",\"ok\":$ok"
}

# Loads and removes the module. The removal fails while a reader has its files open.
load() { insmod /scenario/vb2-why.ko || step why.load '"ok":false'; }
remove() { until rmmod vb2_why 2>/dev/null; do :; done; }

# Loaded first: it must find the modules when they load.
load
same probes-of-kernel "$(armed .)" 4
use_module c
modprobe videobuf2-vmalloc
insmod /scenario/vb3planes.ko || step why.driver '"ok":false'
cat /sys/kernel/debug/kprobes/list
same probes-of-contig "$(armed vb2_dc_)" 8
same probes-of-vmalloc "$(armed vb2_vmalloc_)" 8
same probes "$(armed .)" 22
mount -t tracefs trace /sys/kernel/tracing
echo 1 >/sys/kernel/tracing/events/vb2_why/enable
report why.planes 250 /scenario/planes "$(node vb3planes)" "$(node vb3crossed)" c
cat $dir/refusals
listed lent-mask refusals "^vb3near: DMABUF, [0-9]+ bytes, by planes\[[0-9]+\], [0-9]+ s ago: dma-mask: wanted [0-9]{10,}, found 4294967295, [0-9]+ segments, longest [0-9]+, errno 22$"
listed user-mask refusals "^vb3near: USERPTR, .*: dma-mask: wanted [0-9]{10,}, found 4294967295, .*errno 5$"
listed user-pieces refusals "^vb3wide: USERPTR, .*: contiguous: wanted 65536, found [0-9]+, .*errno 14$"
listed user-nothing refusals "^vb3wide: USERPTR, .*: user-pages: wanted 16, found 0, .*errno 14$"
# Debian's arm64 kernels have no heap to lend a buffer.
[ ! -e /dev/dma_heap/system ] ||
    listed too-small refusals "^vb3near: DMABUF, .*: buffer-size: wanted 1048576, found 65536, .*errno 14$"
listed too-long-near refusals "^vb3near: MMAP, .*: cma-size: wanted 67108864, found 4194304, .*errno 12$"
listed too-long-wide refusals "^vb3wide: MMAP, .*: cma-size: wanted 67108864, found 4194304, "
grep -q 'vb2_refused: vb3wide: MMAP, cma-size: wanted 67108864' /sys/kernel/tracing/trace && ok=true || ok=false
step why.trace "\"ok\":$ok"
echo 0 >/sys/kernel/tracing/events/vb2_why/enable
rmmod vb3planes
same buffers-gone "$(wc -l <$dir/buffers)" 0
# The stock kernel warns of an allocation that is too long.
complaints c

# Random opens while an allocator is unplugged and plugged in.
before=$(cut -f1 /proc/sys/fs/file-nr)
within 250 /scenario/opens $dir 20000 7 >/dev/results &
opens=$!
for round in 1 2 3; do
    rmmod videobuf2-dma-contig || step why.unplug '"ok":false'
    modprobe videobuf2-dma-contig
done
wait $opens
ended why.opens.exit $?
same probes-again "$(armed vb2_dc_)" 8
remove
same removed "$(armed .)" 0

# vivid's output imports a buffer of vivid's capture. The list has exporter and importer, and also
# buffers from before the probes.
load_vivid allocators=1
v4l2-ctl -d "$output" --set-fmt-video-out=width=640,height=360
v4l2-ctl -d "$capture" --set-fmt-video=width=640,height=360
v4l2-ctl -d "$capture" --stream-mmap=4 --stream-out-dmabuf --out-device "$output" --stream-count=100000000 >/tmp/stream 2>&1 &
stream=$!
until [ -s /tmp/stream ]; do usleep 50000; done
load
until grep -q MMAP $dir/buffers; do usleep 50000; done
listed found buffers "^vivid[^:]*: MMAP, [0-9]+ bytes, by .*, references [1-9]"

slab=$(sed -n 's/^SUnreclaim: *\([0-9]*\).*/\1/p' /proc/meminfo)
kill -0 $stream && ok=true || ok=false
step why.still-streams "\"ok\":$ok"
until grep -q MMAP $dir/buffers; do usleep 50000; done
kill $stream
wait $stream 2>/dev/null

# A new stream, with its exports and attachments.
v4l2-ctl -d "$capture" --stream-mmap=4 --stream-out-dmabuf --out-device "$output" --stream-count=100000000 >/tmp/stream 2>&1 &
stream=$!
until grep -q DMABUF $dir/buffers && grep -q attached $dir/buffers; do usleep 50000; done
cat $dir/buffers
listed importer buffers "^vivid[^:]*: DMABUF, [0-9]+ bytes, by v4l2-ctl\[[0-9]+\], references 1, inode [0-9]+ of videobuf2_dma_contig"
listed attached buffers "^vivid[^:]*: attached, .* of videobuf2_dma_contig"
inode=$(sed -n 's/.*: attached, .*inode \([0-9]*\).*/\1/p' $dir/buffers | head -n 1)
listed exporter buffers "^vivid[^:]*: MMAP, .*, inode $inode$"
kill $stream
wait $stream 2>/dev/null
rmmod vivid
same buffers-of-vivid "$(wc -l <$dir/buffers)" 0
rmmod videobuf2-dma-contig
same unloaded "$(armed vb2_dc_)" 0
same files "$(($(cut -f1 /proc/sys/fs/file-nr) <= before + 64))" 1
grew=$(($(sed -n 's/^SUnreclaim: *\([0-9]*\).*/\1/p' /proc/meminfo) - slab))
step why.slab "\"grew_kib\":$grew"
same complaints "$(dmesg | grep -cE 'WARNING:|BUG:|Oops')" 0
rmmod vb2_why || step why.remove '"ok":false'
same left "$(armed .)" 0
