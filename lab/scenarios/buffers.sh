# What poll and epoll report of dma-bufs and sync files, by fences of vgem: a test of `vb3 run` asks the
# same program for the same answers. No module of ours is in it.
. /scenario/lib.sh

modprobe vgem
within 60 /scenario/epoll_other vgem >/tmp/out
code=$?
cat /tmp/out
looks=$(wc -l </tmp/out)
differ=$(grep -c ', not ' /tmp/out)
[ "$code" = 0 ] && [ "$looks" -gt 50 ] && [ "$differ" = 0 ] && ok=true || ok=false
step buffers "\"ok\":$ok,\"looks\":$looks,\"differ\":$differ"
