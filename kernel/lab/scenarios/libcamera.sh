# libcamera's own tests with the kernel's vimc. The guest uses the host's files. `cargo xtask conform
# libcamera` builds the tests, runs this scenario and compares. The kernel's argument `built` names the build.
#needs peers
#share /
#file kernel/lab/libcamera-tests.py
#memory 3072
#seconds 5400
# The tests expect a fast machine: ten instructions, or ticks of this system, seem to take a nanosecond.
#append tsc_early_khz=10000000
. /scenario/lib.sh

use_module c
for dep in videobuf2-vmalloc v4l2-tpg 9pnet_virtio 9p overlay; do
    modprobe $dep
done
ifconfig lo up
# The files, with a layer in memory that takes changes.
share=trans=virtio,version=9p2000.L,msize=131072
mkdir -p /ro /rw /root
insmod /scenario/vimc.ko &&
    mount -t 9p -o $share,ro,cache=loose share /ro &&
    mount -t tmpfs -o size=75% rw /rw &&
    mkdir /rw/upper /rw/work &&
    mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work root /root &&
    cd /root || step libcamera.root '"ok":false'
mkdir -p proc sys dev tmp run
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
mkdir -p dev/shm dev/pts
mount -t tmpfs shm dev/shm
mount -t devpts pts dev/pts
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs run run
cp /scenario/libcamera-tests.py tmp/
cat >tmp/run.sh <<'END'
# udevadm takes a root other than that of process 1 for a chroot.
export SYSTEMD_IGNORE_CHROOT=1
/lib/systemd/systemd-udevd --daemon
udevadm trigger --settle --subsystem-match=media --subsystem-match=video4linux
# Reads the files beforehand: where the clock counts instructions, a wait for a file seems long.
find "$1/build" -type f -size -20M "(" -name "*.so*" -o -perm -u+x ")" -exec cat {} + >/dev/null
exec /usr/bin/python3 /tmp/libcamera-tests.py "$1" 30
END
# A program in a chroot could make no user namespace, so the files become the root of a mount namespace.
unshare -m sh -c 'mount -o move . / && exec chroot . /bin/sh /tmp/run.sh "$1"' sh "$built" >/dev/results
ended libcamera.exit $?
