# vb2-why: refusals of videobuf2's core, of heaps and of DRM's imports, on stock modules, by unmodified programs.
#append cma=64M
. /scenario/lib.sh

dir=/sys/kernel/debug/vb2-why
insmod /scenario/vb2-why.ko || step why.load '"ok":false'
dmesg | grep -q 'vb2-why: [0-9]* of [0-9]* probes armed' && ok=true || ok=false
step why.armed "\"line\":\"$(dmesg | grep -o 'vb2-why: .*armed' | head -n 1)\",\"ok\":$ok"
listed why.nothing $dir/why 'has refused no buffer'
modprobe vgem
load_vivid allocators=1
node=${capture#/dev/}

# Another program streams from the same device.
v4l2-ctl -d "$capture" --stream-mmap=4 --stream-count=100000000 >/tmp/stream 2>&1 &
stream=$!
until [ -s /tmp/stream ]; do usleep 50000; done
v4l2-ctl -d "$capture" --stream-mmap=4 --stream-count=1
listed why.owner $dir/why "^$node refused REQBUFS of v4l2-ctl\[[0-9]+\], [0-9]+ s ago \(owner\)"
listed why.owner-named $dir/why "Another open file has the queue; its buffers are of v4l2-ctl\[$stream\]\. Details: -EBUSY"
kill $stream
wait $stream 2>/dev/null

# vivid offers no user pointers with this allocator.
v4l2-ctl -d "$capture" --stream-user=4 --stream-count=1
listed why.memory $dir/why 'The driver does not offer USERPTR\. Details: -EINVAL'
# v4l2-compliance makes wrong calls on purpose.
comply why.capture -d "$capture" -s5
comply why.output -d "$output" -s5
heap=$(ls /dev/dma_heap/*cma* /dev/dma_heap/reserved 2>/dev/null | head -n 1)
/scenario/refused /dev/dri/card0 $heap >/dev/results
ended why.refused $?
[ -z "$heap" ] || listed why.heap $dir/why '^cma-heap refused an allocation of refused'
# The lab keeps no graphics driver of arm64.
[ ! -e /dev/dri/card0 ] || listed why.prime $dir/why '^vgem refused a dma-buf of refused.*\(dmabuf-fd\)'
cat $dir/why
sed -n 's/.* s ago: \([a-z-]*\): wanted.*/\1/p' $dir/refusals | sort | uniq -c | sort -rn
# Before Linux 6.12, the module finds no queue for calls that the core refuses early.
case $(uname -r) in 6.[0-9].*) more= ;; *) more='buffer-type no-buffers' ;; esac
[ ! -e /dev/dri/card0 ] || more="$more dmabuf-fd"
for constraint in memory-type owner buffer-state buffer-index requests-mixed $more; do
    listed "why.has-$constraint" $dir/refusals " s ago: $constraint: wanted"
done
explained why.sentences
# The checker of the DMA API reports vivid.
same why.complaints "$(dmesg | grep -E 'WARNING:|BUG:|KASAN|Oops|possible (circular|recursive)' | grep -vc 'dma/debug')" 0
complaints c
rmmod vivid
same why.buffers-gone "$(wc -l <$dir/buffers)" 0
rmmod vb2_why || step why.remove '"ok":false'
