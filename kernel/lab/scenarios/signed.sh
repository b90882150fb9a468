# A machine under UEFI Secure Boot, whose owner has enrolled dkms's certificate: the kernel loads signed
# modules only. The packages' modules load, and no module without that signature.
#needs package
#firmware secure-boot
. /scenario/lib.sh

depmod() { /usr/sbin/depmod "$@"; }
modprobe() { /usr/sbin/modprobe "$@"; }
installed=/usr/lib/modules/$(uname -r)/updates
mount -t securityfs security /sys/kernel/security
grep -q '\[integrity\]' /sys/kernel/security/lockdown && ok=true || ok=false
step signed.lockdown "\"modes\":\"$(cat /sys/kernel/security/lockdown)\",\"ok\":$ok"

# A module that the kernel must not load: refused NAME FILE
refused() {
    said=$(insmod "$2" 2>&1) && ok=false || ok=true
    echo "$said" | grep -qi 'key\|permitted' || ok=false
    step "signed.refused.$1" "\"said\":\"$(echo "$said" | tr -d '"\n')\",\"ok\":$ok"
}
for dep in mc videodev videobuf2-common videobuf2-v4l2 videobuf2-memops; do
    modprobe $dep
done
xzcat "$installed/dkms/videobuf2-dma-contig.ko.xz" >/tmp/module.ko
size=$(wc -c </tmp/module.ko)
# A signature ends with this text; without it, the kernel finds none.
mark='~Module signature appended~'
tail -c 28 /tmp/module.ko | grep -q "^$mark$" && ok=true || ok=false
step signed.mark "\"ok\":$ok"
head -c $((size - 28)) /tmp/module.ko >/tmp/unsigned.ko
refused unsigned /tmp/unsigned.ko
case $(od -An -tu1 -j $((size / 2)) -N1 /tmp/module.ko) in *[1-9]*) byte='\0' ;; *) byte='\1' ;; esac
# shellcheck disable=SC2059 # an escape
printf "$byte" | dd of=/tmp/module.ko bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
refused changed /tmp/module.ko

depmod -a
load_vivid allocators=1
[ -d /sys/kernel/debug/vb2-dma-contig ] && ok=true || ok=false
step signed.loaded "\"file\":\"$(modprobe -D videobuf2-dma-contig | tail -n 1)\",\"signer\":\"$(modinfo -F signer videobuf2-dma-contig)\",\"ok\":$ok"
comply rust.signed -d "$capture" -s10
modprobe -r vivid
complaints rust
