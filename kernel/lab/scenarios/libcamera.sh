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
for dep in videobuf2-vmalloc v4l2-tpg; do
    modprobe $dep
done
insmod /scenario/vimc.ko && host_root && cd /root || step libcamera.root '"ok":false'
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
