# The script for real boards (kernel/board.sh), on a bus without coherent caches: it ends with a whole
# table, whose middle column is our module's.
#file kernel/board.sh
. /scenario/lib.sh

# kmod's tools, as on a board.
for tool in modprobe insmod rmmod; do ln -sf /usr/sbin/$tool /usr/bin/$tool; done
load_vivid allocators=1
modprobe -r vivid
mkdir -p /etc/modprobe.d
cat >/etc/modprobe.d/vivid.conf <<CONF
options vivid n_devs=1 multiplanar=1 num_inputs=1 input_types=0x00 num_outputs=1 output_types=0x00 node_types=0x101 no_error_inj=1 allocators=1
CONF
LOGS=/tmp/logs FRAMES=10 sh /scenario/board.sh "$capture" /scenario/videobuf2-dma-contig.ko vivid >/tmp/table
cat /tmp/table
[ "$(grep -c '^|.*|.*|.*|.*|$' /tmp/table)" = 8 ] && ok=true || ok=false
step board.table "\"lines\":$(wc -l </tmp/table),\"ok\":$ok"
grep -q '^| in use | stock | ours | stock |$' /tmp/table && ok=true || ok=false
step board.modules "\"ok\":$ok"
capture=$(grep '^| capture' /tmp/table)
[ "$(echo "$capture" | grep -o ' ok; ' | wc -l)" = 3 ] && ok=true || ok=false
step board.capture "\"row\":\"$capture\",\"ok\":$ok"
complaints rust
