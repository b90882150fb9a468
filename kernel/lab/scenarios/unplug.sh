# A device is unplugged while a program holds its memory as dma-bufs, and our module is unloaded, while
# another program opens our module's debugfs files.
. /scenario/lib.sh

dir=/sys/kernel/debug/vb2-dma-contig
held_beyond=8
mkfifo /tmp/go
use_module rust
insmod /scenario/vb3edu.ko mask=0xffffffff instant=1 || step rust.driver '"ok":false'
before=$(cut -f1 /proc/sys/fs/file-nr)
for seed in 1 2 3 4 5 6; do
    device=$(edu_device)
    : >/tmp/held
    /scenario/hold "$(node vb3edu)" $held_beyond <>/tmp/go >/tmp/held &
    hold=$!
    until [ -s /tmp/held ] || ! kill -0 $hold; do usleep 20000; done
    within 250 /scenario/opens $dir 10000 $seed rust.opens >/dev/results &
    opens=$!
    echo 1 >"$device/remove"
    # The memory outlives the device, which the list names.
    same rust.held "$(grep -c "${device##*/}" $dir/buffers)" $held_beyond
    echo >/tmp/go
    wait $hold
    ended rust.hold $?
    wait $opens
    ended rust.opens.exit $?
    same rust.freed "$(grep -c . $dir/buffers)" 0
    echo 1 >/sys/bus/pci/rescan
    until [ -n "$(edu_device)" ]; do usleep 20000; done
done
rmmod vb3edu

# The unload fails while a file is open.
for seed in 11 12 13 14; do
    /scenario/opens $dir 10000 $seed rust.opens >/dev/results &
    opens=$!
    until [ "$(readlink /proc/$opens/fd/3)" = $dir ] || ! kill -0 $opens; do :; done
    until rmmod videobuf2-dma-contig 2>/dev/null; do :; done
    insmod /scenario/videobuf2-dma-contig.ko || step rust.load '"ok":false'
    wait $opens
    ended rust.opens.exit $?
done
same rust.files "$(($(cut -f1 /proc/sys/fs/file-nr) <= before + 64))" 1
complaints rust
drop_module rust
