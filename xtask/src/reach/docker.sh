# Runs "$@" in a Docker container with the default profile. A separate engine in a new name space runs
# it, so nothing outlives the command. The image is empty; /usr and /etc are the system's.
set -e
if [ "$1" != inside ]; then
    exec unshare -m --propagation private sh "$SCRIPT" inside "$@"
fi
shift
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /mnt
mkdir -p /mnt/data /mnt/exec /mnt/image
# vfs: overlayfs may not stack on the name space's root.
dockerd --data-root /mnt/data --exec-root /mnt/exec -H unix:///mnt/socket -p /mnt/pid \
    --iptables=false --bridge=none --storage-driver vfs >/mnt/log 2>&1 &
engine=$!
for _ in $(seq 100); do
    [ -S /mnt/socket ] && break
    sleep 0.2
done
docker() { /usr/bin/docker -H unix:///mnt/socket "$@"; }
cd /mnt/image
mkdir -p usr etc tmp root dev proc sys run var/tmp
for link in bin sbin lib lib64; do
    [ ! -L "/$link" ] || cp -P "/$link" .
done
tar -c . | docker import - root >/mnt/imported || { tail -3 /mnt/log; exit 1; }
status=0
docker run --rm --network=none -e HOME=/root -e WAITS -v /usr:/usr:ro -v /etc:/etc:ro \
    -v "$BIN:$BIN:ro" root "$@" || status=$?
kill "$engine"
wait "$engine" || true
exit "$status"
