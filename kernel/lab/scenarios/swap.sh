# A buffer that has room only when the kernel swaps a program's memory out.
#memory 768
. /scenario/lib.sh

modprobe zram
echo 512M >/sys/block/zram0/disksize
mkswap /dev/zram0 && swapon /dev/zram0 || step swap '"ok":false'
modprobe videobuf2-dma-contig
module=videobuf2-dma-sg
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko mask=0xffffffff memory=sg || step "$which.driver" '"ok":false'
    insmod /scenario/vb3probe.ko || step "$which.probe" '"ok":false'
    report "$which.swap" 250 /scenario/limits "$(node vb3edu)" "$which" swapped
    complaints "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
