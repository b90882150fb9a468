# vb2-why with the stock modules: debugfs has each refusal's reason and each buffer's holders. `reloads`
# loads and removes it often.
#memory 5120
#append cma=0 swiotlb=2048 init_on_alloc=0
#needs other-kernel
#seconds 1800
. /scenario/lib.sh

dir=/sys/kernel/debug/vb2-why
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled

# How many probes are armed, of functions like the pattern.
armed() { grep -cE " r .*$1" /sys/kernel/debug/kprobes/list; }

# Loads and removes the module. The removal fails while a reader has its files open.
load() { insmod /scenario/vb2-why.ko || step why.load '"ok":false'; }
remove() { until rmmod vb2_why 2>/dev/null; do :; done; }

# The kernel must refuse another kernel's module with an errno and one line, besides those about its taint.
refuse() {
    dmesg >/tmp/before
    # BusyBox's insmod tries twice.
    /usr/sbin/insmod "/scenario/$1" 2>/tmp/err && code=0 || code=$?
    dmesg | tail -n +$(($(wc -l </tmp/before) + 1)) | grep -v taint >/tmp/lines
    cat /tmp/err /tmp/lines
    [ $code != 0 ] && grep -qi 'invalid module format' /tmp/err && [ "$(wc -l </tmp/lines)" = 1 ] &&
        grep -qE 'version magic|disagrees about version' /tmp/lines && ok=true || ok=false
    step "why.refuse.$2" "\"code\":$code,\"lines\":$(wc -l </tmp/lines),\"ok\":$ok"
}

refuse other-vb2-why.ko why
# vb2-why is loaded before the modules that it probes, and must find them when they are loaded.
load
probes=$(armed .)
use_module c
modprobe videobuf2-vmalloc
insmod /scenario/vb3planes.ko || step why.driver '"ok":false'
cat /sys/kernel/debug/kprobes/list
same why.probes-of-contig "$(armed vb2_dc_)" 9
same why.probes-of-vmalloc "$(armed vb2_vmalloc_)" 9
same why.probes-more "$(($(armed .) >= probes + 18))" 1
mount -t tracefs trace /sys/kernel/tracing
echo 1 >/sys/kernel/tracing/events/vb2_why/enable
report why.planes 250 /scenario/planes "$(node vb3planes)" "$(node vb3crossed)" c
cat $dir/refusals
listed why.lent-mask $dir/refusals "^vb3near: DMABUF, [0-9]+ bytes, by planes\[[0-9]+\], [0-9]+ s ago: dma-mask: wanted [0-9]{10,}, found 4294967295, [0-9]+ segments, longest [0-9]+, errno 22$"
listed why.user-mask $dir/refusals "^vb3near: USERPTR, .*: dma-mask: wanted [0-9]{10,}, found 4294967295, .*errno 5$"
listed why.user-pieces $dir/refusals "^vb3wide: USERPTR, .*: contiguous: wanted 65536, found [0-9]+, .*errno 14$"
listed why.user-nothing $dir/refusals "^vb3wide: USERPTR, .*: user-pages: wanted 16, found 0, .*errno 14$"
# Debian's arm64 kernels have no heap to lend a buffer.
[ ! -e /dev/dma_heap/system ] ||
    listed why.too-small $dir/refusals "^vb3near: DMABUF, .*: buffer-size: wanted 1048576, found 65536, .*errno 14$"
listed why.too-long-near $dir/refusals "^vb3near: MMAP, .*: cma-size: wanted 67108864, found 4194304, .*errno 12$"
listed why.too-long-wide $dir/refusals "^vb3wide: MMAP, .*: cma-size: wanted 67108864, found 4194304, "
grep -q 'vb2_refused: vb3wide: MMAP, cma-size: wanted 67108864' /sys/kernel/tracing/trace && ok=true || ok=false
step why.trace "\"ok\":$ok"
echo 0 >/sys/kernel/tracing/events/vb2_why/enable
rmmod vb3planes

# Reasons that a device with one plane can meet.
for driver in edu probe; do
    [ $driver = edu ] && more='mask=0xffffffff instant=1' || more=
    # shellcheck disable=SC2086 # two words
    insmod /scenario/vb3$driver.ko $more || step why.$driver '"ok":false'
done
report why.conflicts 250 /scenario/conflicts "$(node vb3edu)" why direct
device=$(edu_device)
device=${device##*/}
listed why.exporter-map $dir/refusals "^$device: DMABUF, 65536 bytes, .*: exporter-errno: wanted 0, found 6, .*errno 22$"
[ "$(uname -m)" = x86_64 ] ||
    listed why.alignment $dir/refusals "^$device: USERPTR, 4096 bytes, .*: alignment: wanted [0-9]{2,}, found 16, .*errno 22$"
listed why.empty $dir/refusals "^$device: USERPTR, 0 bytes, .*: buffer-size: wanted 1, found 0, .*errno 22$"
listed why.in-pieces $dir/refusals "^$device: MMAP, 4194304 bytes, .*: contiguous: wanted 4194304, found 4194304, .*errno 12$"
listed why.bounces $dir/refusals "^$device: USERPTR, 262144 bytes, .*: bounce-pool: wanted 262144, found 262144, .*errno 5$"
rmmod vb3probe vb3edu
explained why.sentences
listed why.sentence.mask /tmp/why 'The memory ends at 0x1[0-9a-f]{8}; the device reaches addresses up to 0xffffffff'
listed why.sentence.pieces /tmp/why 'The device needs 65536 bytes in one piece; the first piece has [0-9]+\.'
listed why.sentence.pages /tmp/why 'Not all of the 16 pages belong to the program'
listed why.sentence.size /tmp/why '1048576 bytes are needed; there are 65536'
listed why.sentence.area /tmp/why 'The device needs 67108864 bytes in one piece; at most 4194304 were possible'
listed why.sentence.exporter /tmp/why 'The exporter answered with -ENXIO\. Details: .*-EINVAL'
listed why.sentence.empty /tmp/why 'The length is 0'
listed why.sentence.in-pieces /tmp/why 'No piece of 4194304 bytes is free'
listed why.sentence.bounces /tmp/why 'The bounce pool had no room for segments of up to 262144 bytes'
same why.buffers-gone "$(wc -l <$dir/buffers)" 0
# The stock kernel warns of an allocation that is too long.
complaints c

# Random opens while an allocator is unplugged and plugged in.
before=$(cut -f1 /proc/sys/fs/file-nr)
for seed in 1 2 3 4 5; do
    within 250 /scenario/opens $dir 20000 $seed why.opens >/dev/results &
    opens=$!
    for round in 1 2 3; do
        rmmod videobuf2-dma-contig || step why.unplug '"ok":false'
        modprobe videobuf2-dma-contig
    done
    wait $opens
    ended why.opens.exit $?
    # The first round fills caches.
    [ $seed != 1 ] || first=$(slab)
done
grew=$(($(slab) - first))
[ $grew -lt 2048 ] && ok=true || ok=false
step why.opens.slab "\"grew_kib\":$grew,\"ok\":$ok"
same why.opens.files "$(($(cut -f1 /proc/sys/fs/file-nr) <= before + 64))" 1
same why.probes-again "$(armed vb2_dc_)" 9
remove
same why.removed "$(armed .)" 0

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
listed why.found $dir/buffers "^vivid[^:]*: MMAP, [0-9]+ bytes, by \?\[0\], references [1-9]"

slab=$(slab)
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
listed why.importer $dir/buffers "^vivid[^:]*: DMABUF, [0-9]+ bytes, by v4l2-ctl\[[0-9]+\], references 1, inode [0-9]+ of videobuf2_dma_contig"
listed why.attached $dir/buffers "^vivid[^:]*: attached, .* of videobuf2_dma_contig"
inode=$(sed -n 's/.*: attached, .*inode \([0-9]*\).*/\1/p' $dir/buffers | head -n 1)
listed why.exporter $dir/buffers "^vivid[^:]*: MMAP, .*, inode $inode$"
kill $stream
wait $stream 2>/dev/null
rmmod vivid
same why.buffers-of-vivid "$(wc -l <$dir/buffers)" 0
rmmod videobuf2-dma-contig
same why.unloaded "$(armed vb2_dc_)" 0

# vb2-why must see the end of an exported buffer with each allocator, also where the compiler has merged functions.
modprobe videobuf2-vmalloc
load_vivid allocators=0
v4l2-ctl -d "$capture" --stream-mmap=4 --stream-out-dmabuf --out-device "$output" --stream-count=30
ended why.vmalloc $?
same why.buffers-of-vmalloc "$(wc -l <$dir/buffers)" 0
rmmod vivid videobuf2-vmalloc videobuf2-dma-contig

# Buffers of another allocator are not listed, because no probe sees their end.
use_module rust
load_vivid allocators=1
v4l2-ctl -d "$capture" --stream-mmap=4 --stream-count=10 --stream-to=/tmp/frames
ended why.others $?
same why.buffers-of-others "$(wc -l <$dir/buffers)" 0
rmmod vivid videobuf2-dma-contig
same why.files "$(($(cut -f1 /proc/sys/fs/file-nr) <= before + 64))" 1
grew=$(($(slab) - slab))
[ $grew -lt 2048 ] && ok=true || ok=false
step why.slab "\"grew_kib\":$grew,\"ok\":$ok"
same why.complaints "$(dmesg | grep -cE 'WARNING:|BUG:|Oops')" 0
rmmod vb2_why || step why.remove '"ok":false'
same why.left "$(armed .)" 0
