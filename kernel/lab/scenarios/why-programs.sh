# vb2-why explains the refusals that unmodified programs meet on stock modules: v4l2-ctl, ffmpeg, GStreamer (also with
# its sink for displays), libcamera's cam, and yavta. They are the host's own, which shares its files with the guest.
#needs peers
#share /
#memory 2048
#seconds 1800
#append cma=8M
. /scenario/lib.sh

dir=/sys/kernel/debug/vb2-why
use_module c
for dep in videobuf2-vmalloc v4l2-tpg configfs drm_kms_helper drm_shmem_helper drm_client_lib; do
    modprobe $dep
done
load_vivid allocators=1
insmod /scenario/vkms.ko && insmod /scenario/vimc.ko allocator=1 && host_root || step why.root '"ok":false'
insmod /scenario/vb2-why.ko || step why.load '"ok":false'

# Runs a program of the host: host PROGRAM...
host() { within 120 chroot /root env HOME=/tmp XDG_RUNTIME_DIR=/run GST_REGISTRY=/tmp/registry "$@"; }
# A refusal whose first line and explanation are like the patterns: told NAME FIRST EXPLANATION
told() {
    grep -A1 -E "$2" $dir/why >/tmp/told
    listed "why.$1" /tmp/told "$3"
    cat $dir/why
}

v4l2-ctl -d "$capture" --stream-mmap=2 --stream-count=100000000 >/tmp/stream 2>&1 &
stream=$!
until [ -s /tmp/stream ]; do usleep 50000; done
host v4l2-ctl -d "$capture" --stream-mmap=2 --stream-count=1
told v4l2-ctl 'video[0-9]+ refused REQBUFS of v4l2-ctl.*\(owner\)' 'its buffers are of v4l2-ctl\['
kill $stream
wait $stream 2>/dev/null

host ffmpeg -loglevel error -f v4l2 -video_size 3840x2160 -i "$capture" -frames:v 1 -f null -
told ffmpeg 'vivid.* refused an allocation of ffmpeg.*\(cma-size\)' 'The device needs [0-9]+ bytes in one piece; at most [0-9]+ were possible'

gst() { host gst-launch-1.0 -q v4l2src device="$capture" num-buffers=4 "$@"; }
picture=video/x-raw,format=BGRx,width=640,height=480
gst io-mode=userptr ! $picture ! fakesink
told gst-userptr 'refused REQBUFS of v4l2src.*\(memory-type\)' 'The driver does not offer USERPTR'
# vivid needs contiguous buffers, and the display's must be scattered. Where free memory is in large pieces, as after a
# boot, they can be contiguous by luck. So perl fills pipes page by page and empties every second one: its pages are
# then the first that the kernel takes for the display. (With more memory, the buffers could also lie beyond the 4 GiB
# that vivid reaches.) The time limit of `host` ends perl.
host perl -e '$| = 1;
    for (1 .. 250) {
        pipe($r, $w), pipe($s, $x), push(@kept, $r, $w);
        syswrite($w, "x" x 4096), syswrite($x, "x" x 4096) for 1 .. 16;
    }
    close($s), close($x), print("ready\n"), sleep' >/tmp/pipes &
until [ -s /tmp/pipes ]; do usleep 50000; done
gst io-mode=dmabuf-import ! $picture ! kmssink driver-name=vkms
told kmssink-export 'vivid.* refused a dma-buf of v4l2src.*\(contiguous\)' 'The device needs [0-9]+ bytes in one piece'
# vkms takes any memory, so it refuses none of vivid's buffers.
gst io-mode=dmabuf ! $picture ! kmssink driver-name=vkms
same why.kmssink-import "$(grep -c vkms $dir/refusals)" 0

host yavta --format XBGR32 --size 3840x2160 --nbufs 2 --capture=1 "$capture"
told yavta 'vivid.* refused an allocation of yavta.*\(cma-size\)' 'The device needs [0-9]+ bytes in one piece'

cat >/root/tmp/cam.sh <<'END'
export SYSTEMD_IGNORE_CHROOT=1
/lib/systemd/systemd-udevd --daemon
udevadm trigger --settle --subsystem-match=media --subsystem-match=video4linux
exec cam --camera 1 --stream width=4096,height=2160 --capture=1
END
host sh /tmp/cam.sh
told libcamera 'vimc.* refused an allocation of .*\(cma-size\)' 'The device needs [0-9]+ bytes in one piece'

explained why.sentences
rmmod vb2_why || step why.remove '"ok":false'
complaints c
