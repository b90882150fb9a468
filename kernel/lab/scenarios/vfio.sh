# A user space driver with our mapping layer: the edu device does DMA at addresses that the layer chose,
# and reaches nothing after their unmapping.
#needs vb3
. /scenario/lib.sh

for module in vfio vfio_iommu_type1 vfio-pci; do
    modprobe $module || step vb3.vfio-module "\"ok\":false,\"name\":\"$module\""
done
for device in /sys/bus/pci/devices/*; do
    [ "$(cat "$device/device")" = 0x11e8 ] || continue
    bdf=${device##*/}
    echo vfio-pci >"$device/driver_override"
    echo "$bdf" >/sys/bus/pci/drivers_probe
    [ -e "$device/iommu_group" ] && ok=true || ok=false
    step vb3.vfio-iommu "\"ok\":$ok"
    within 100 /scenario/vfio-edu "$bdf" >/dev/results 2>/tmp/err || {
        says=$(tr -d '"\\' </tmp/err | tr '\n' ' ')
        step vb3.vfio-exit "\"ok\":false,\"says\":\"$says\""
    }
done
# The IOMMU reports a blocked write.
dmesg | grep -q 'DMAR:.*fault' && ok=true || ok=false
step vb3.vfio-fault "\"ok\":$ok"
