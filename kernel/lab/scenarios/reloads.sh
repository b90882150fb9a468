# vb2-why is loaded and removed during streaming, with a concurrent reader of its files. `rounds=N` of the
# kernel's arguments says how often: `cargo xtask vm reloads --append rounds=1000`.
#seconds 7200
# Each round patches kernel functions that run. Before 8.1 (deba78709ae8), QEMU may run a breakpoint that another
# processor has already removed, which ends the kernel.
#processors in-turn
. /scenario/lib.sh

dir=/sys/kernel/debug/vb2-why
rounds=$(sed -n 's/.* rounds=\([0-9]*\).*/\1/p' /proc/cmdline)
rounds=${rounds:-12}

# Small frames, and short waits for running handlers: most of the time goes to the probes.
echo 1 >/sys/kernel/rcu_expedited
use_module c
load_vivid allocators=1
v4l2-ctl -d "$output" --set-fmt-video-out=width=160,height=90
v4l2-ctl -d "$capture" --set-fmt-video=width=160,height=90
v4l2-ctl -d "$capture" --stream-mmap=4 --stream-out-dmabuf --out-device "$output" --stream-count=100000000 >/tmp/stream 2>&1 &
stream=$!
until [ -s /tmp/stream ]; do usleep 50000; done

done=0
for round in $(seq 1 "$rounds"); do
    insmod /scenario/vb2-why.ko && done=$((done + 1))
    cat $dir/refusals $dir/buffers >/dev/null 2>&1 &
    # The unload fails while the reader has its files open.
    until rmmod vb2_why 2>/dev/null; do :; done
    # The first round fills caches.
    [ "$round" != 1 ] || before=$(slab)
    [ $((round % 5)) != 0 ] || step reloads.rounds "\"done\":$round,\"slab_kib\":$(slab)"
done
same reloads.rounds "$done" "$rounds"
kill -0 $stream && ok=true || ok=false
step reloads.still-streams "\"ok\":$ok"
grew=$(($(slab) - before))
[ $grew -lt 2048 ] && ok=true || ok=false
step reloads.slab "\"grew_kib\":$grew,\"ok\":$ok"

# The module still sees the stream's frames.
insmod /scenario/vb2-why.ko || step reloads.load '"ok":false'
until grep -q MMAP $dir/buffers; do usleep 50000; done
kill $stream
wait $stream 2>/dev/null
rmmod vb2_why || step reloads.remove '"ok":false'
same reloads.probes "$(grep -c . /sys/kernel/debug/kprobes/list)" 0
# For any module, the kernel warns of an open between the end of the module's last reference and its mark as
# leaving. Source: Linux 7.3 kernel/module/main.c `try_stop_module`, fs/debugfs/file.c `full_proxy_open_regular`.
dmesg -c >/tmp/dmesg
early=$(grep -c 'debugfs file owner did not clean up at exit' /tmp/dmesg)
echo "opens while the kernel decided to unload: $early"
same reloads.complaints "$(($(grep -cE 'WARNING:|BUG[: ]|Oops|[Uu]nable to handle' /tmp/dmesg) - early))" 0
