# A device with real DMA: every kind of memory, on the C module and ours.
. /scenario/lib.sh

modprobe udmabuf 2>/dev/null
for which in $MODULES; do
    use_module "$which" || continue
    insmod /scenario/vb3edu.ko || step "$which.driver" '"ok":false'
    node=$(node vb3edu)
    timeout 250 /scenario/edu "$node" "$which" >/dev/ttyS1
    complaints "$which"
    rmmod vb3edu
    drop_module "$which"
done
