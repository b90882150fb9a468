# Events that poll and epoll report for dma-bufs and sync files with fences of vgem. A test of `vb3 run`
# expects the same answers from the same program. It uses no module of ours.
. /scenario/lib.sh

modprobe vgem
within 60 /scenario/epoll_other vgem >/tmp/out
code=$?
cat /tmp/out
looks=$(wc -l </tmp/out)
differ=$(grep -c ', not ' /tmp/out)
[ "$code" = 0 ] && [ "$looks" -gt 50 ] && [ "$differ" = 0 ] && ok=true || ok=false
step buffers "\"ok\":$ok,\"looks\":$looks,\"differ\":$differ"
