# vb2-why with the stock modules behind an IOMMU: allocations and imports that need more addresses than the device
# has, or more memory than the machine has.
. /scenario/lib.sh

# Our module's own reasons for two refusals.
use_module rust
insmod /scenario/vb3edu.ko instant=1 || step why.edu '"ok":false'
insmod /scenario/vb3probe.ko || step why.probe '"ok":false'
report rust.conflicts 250 /scenario/conflicts "$(node vb3edu)" rust translated
dir=/sys/kernel/debug/vb2-dma-contig
cat $dir/refusals
listed rust.addresses $dir/refusals 'user memory, iova-space: wanted 33554432'
listed rust.addresses-of-one $dir/refusals 'an allocation, iova-space: wanted 335544320'
complaints rust
rmmod vb3probe vb3edu
drop_module rust

dir=/sys/kernel/debug/vb2-why
insmod /scenario/vb2-why.ko || step why.load '"ok":false'
use_module c
modprobe videobuf2-vmalloc

insmod /scenario/vb3edu.ko instant=1 || step why.edu '"ok":false'
insmod /scenario/vb3probe.ko || step why.probe '"ok":false'
check_iommu
device=$(edu_device)
device=${device##*/}
report why.conflicts 250 /scenario/conflicts "$(node vb3edu)" why translated
listed why.addresses $dir/refusals "^$device: USERPTR, 33554432 bytes, .*: iova-space: wanted 33554432, found 0, .*errno 5$"
listed why.addresses-of-one $dir/refusals "^$device: MMAP, 335544320 bytes, .*: iova-space: wanted 335544320, found 0, .*errno 12$"
rmmod vb3probe vb3edu

# A device that reaches more memory than there is.
insmod /scenario/vb3edu.ko instant=1 mask=0xffffffff other=far other_memory=vmalloc || step why.edu '"ok":false'
insmod /scenario/vb3probe.ko || step why.probe '"ok":false'
for kind in edu other; do
    within 250 /scenario/conflicts "$(node vb3$kind)" "why.$kind" large >/dev/results
    step "why.$kind.large.exit" "\"code\":$?"
done
listed why.large $dir/refusals "^$device: MMAP, 3221225472 bytes, .*: ram: wanted 3221225472, found [0-9]+, .*errno 12$"
listed why.large-vmalloc $dir/refusals "^[^:]*: MMAP, 3221225472 bytes, .*: ram: wanted 3221225472, found [0-9]+, .*errno 12$"
report why.vmap 250 /scenario/conflicts "$(node vb3other)" why vmap
listed why.exporter-vmap $dir/refusals "^vb3[^:]*: DMABUF, 65536 bytes, .*: cpu-mapping: wanted 65536, found 0, .*errno 14$"
report why.attach 250 /scenario/conflicts "$(node vb3edu)" why attach
listed why.exporter-attach $dir/refusals "^$device: DMABUF, 65536 bytes, .*: exporter-errno: wanted 0, found 16, .*errno 16$"
cat $dir/refusals
explained why.sentences
listed why.sentence.addresses /tmp/why 'The IOMMU had no room for 33554432 bytes'
listed why.sentence.vmap /tmp/why 'The exporter gave the CPU no mapping of the memory'
listed why.sentence.exporter /tmp/why 'The exporter answered with -EBUSY\. Details: .*-EBUSY'
listed why.sentence.ram /tmp/why '3221225472 bytes are needed; [0-9]+ were available'
same why.buffers-gone "$(wc -l <$dir/buffers)" 0
# The kernel warns of allocations that are too long, and ends a program.
complaints c
rmmod vb2_why || step why.remove '"ok":false'
