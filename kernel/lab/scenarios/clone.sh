# Clones beside their originals: `vb3 clone` describes vivid and a webcam on USB, `vb3 run` plays the
# descriptions, and both answer the same queries. The rules of kernel/lab/clone turn the original's answers into
# those that are expected of the clone.
#needs peers
#needs vb3
#file kernel/lab/clone/vivid.sed
#file kernel/lab/clone/uvcvideo.sed
. /scenario/lib.sh

cd /tmp
export XDG_STATE_HOME=/tmp
vb3=/scenario/vb3
queries='all controls formats media compliance'

# Asks a node and its media device all queries: NODE DIRECTORY.
cat >ask.sh <<'END'
mkdir "$2"
media=$(ls "/sys/class/video4linux/${1#/dev/}/device" | grep '^media[0-9]')
v4l2-ctl -d "$1" --all >"$2/all"
v4l2-ctl -d "$1" -L >"$2/controls"
v4l2-ctl -d "$1" --list-formats-ext >"$2/formats"
if [ "$media" ]; then media-ctl -d "/dev/$media" -p; fi >"$2/media"
# The children of v4l2-compliance print again the lines that were buffered when they were forked.
v4l2-compliance -d "$1" | awk '
    /test blocking wait/ && seen++ { next }
    NF || before { print }
    { before = NF }' >"$2/compliance"
exit 0
END

# Compares a clone's answers with those that are expected of it. A volatile control's value changes from
# read to read, and a format's number follows from its place in the list.
compare() {
    for query in $queries; do
        for side in "$1" "$1.clone"; do
            sed -E -e 's/value=[^ ]+ (\([^)]*\) )?(flags=.*volatile)/value=* \2/' -e 's/^\t\[[0-9]+\]:/\t[*]:/' \
                "$side/$query" >"$side.$query"
        done
        sed -E -f "/scenario/$1.sed" "$1.$query" >"$1.expected"
        diff -u "$1.expected" "$1.clone.$query" >differences && same=true || same=false
        lines=$(wc -l <"$1.$query")
        listed=$(diff "$1.$query" "$1.clone.$query" | grep -c '^[-+][^-+]')
        [ $same = true ] && [ "$lines" -gt 5 ] && ok=true || ok=false
        step "vb3.$1.$query" "\"ok\":$ok,\"lines\":$lines,\"listed\":$listed"
        [ $ok = true ] || cat differences
    done
}

# Describes a node: DRIVER NODE OPTIONS.
describe() {
    $vb3 clone $3 "$2" >"$1.toml" 2>err && ok=true || ok=false
    step "vb3.$1.clone" "\"ok\":$ok"
    [ $ok = true ] || cat err
}

# Plays a description at the original's number, and compares the answers: DRIVER NODE.
play() {
    $vb3 run --device "camera,like=$1.toml,node=${2#/dev/}" -- sh ask.sh "$2" "$1.clone" 2>err
    ended "vb3.$1.run" $?
    cat err
    compare "$1"
}

# Only vivid's webcam input: descriptions have no standards, tuners and timings.
load_webcam() { modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0; }

load_webcam
node=$(node vivid-000-vid-cap)
describe vivid "$node" '--seconds 1'
# Streaming changes a control of vivid's.
rmmod vivid
load_webcam
sh ask.sh "$node" vivid
rmmod vivid
play vivid "$node"

# A codec or a converter is refused with a reason.
insmod /scenario/v4l2-mem2mem.ko && insmod /scenario/vim2m.ko
converter=$(node vim2m)
says=$($vb3 clone "$converter" 2>&1)
case $?:$says in
    125:*"$converter: it is a codec or a converter, and only cameras can be cloned"*) ok=true ;;
    *) ok=false ;;
esac
step vb3.vim2m.refusal "\"ok\":$ok,\"says\":\"$(echo "$says" | tr -d '"\\' | tr '\n' ' ')\""
rmmod vim2m v4l2-mem2mem

# A webcam on a simulated bus, with the formats and the controls of programs/webcam.c.
modprobe -a libcomposite videobuf2-vmalloc videobuf2-dma-sg usb_f_uvc uvcvideo
insmod /scenario/dummy_hcd.ko
mkdir -p /sys/kernel/config
mount -t configfs config /sys/kernel/config
webcam=/sys/kernel/config/usb_gadget/webcam
mkdir $webcam && cd $webcam
echo 0x046d >idVendor
echo 0x0825 >idProduct
echo 0x0012 >bcdDevice
mkdir strings/0x409
echo 'Test Maker' >strings/0x409/manufacturer
echo 'Test Webcam' >strings/0x409/product
echo 0123ABCD >strings/0x409/serialnumber
uvc=functions/uvc.0
mkdir $uvc
# Writes lines to a file in one call, as the kernel expects lists: FILE LINE...
put() {
    list=$1
    shift
    printf '%s\n' "$@" >/tmp/list
    dd if=/tmp/list of="$list" bs=4096 2>/dev/null
}
# Brightness, contrast, hue, saturation, temperature; gain, power line, automatic temperature.
put $uvc/control/processing/default/bmControls 0x4f 0x16
# Exposure's mode, priority and time, focus; zoom; automatic focus.
put $uvc/control/terminal/camera/default/bmControls 0x2e 0x02 0x02
# A size of a format: FORMAT WIDTH HEIGHT NUMBER.
add_size() {
    size=$uvc/streaming/$1/$4
    mkdir -p "$size"
    echo "$2" >"$size/wWidth"
    echo "$3" >"$size/wHeight"
    echo $(($2 * $3 * 2)) >"$size/dwMaxVideoFrameBufferSize"
    echo 333333 >"$size/dwDefaultFrameInterval"
    put "$size/dwFrameInterval" 333333 666666
}
add_size uncompressed/u 640 480 1
add_size uncompressed/u 320 240 2
add_size mjpeg/m 1280 720 1
add_size mjpeg/m 640 480 2
mkdir $uvc/streaming/header/h $uvc/control/header/h configs/c.1
ln -s $uvc/streaming/uncompressed/u $uvc/streaming/header/h/u
ln -s $uvc/streaming/mjpeg/m $uvc/streaming/header/h/m
for speed in fs hs ss; do ln -s $uvc/streaming/header/h $uvc/streaming/class/$speed/h; done
for speed in fs ss; do ln -s $uvc/control/header/h $uvc/control/class/$speed/h; done
ln -s $uvc configs/c.1
echo dummy_udc.0 >UDC
cd /tmp
/scenario/webcam /dev/video0 &
firmware=$!
name='Test Webcam: UVC Camera'
for second in $(seq 1 30); do
    grep -qs "$name" /sys/class/video4linux/*/name && break
    sleep 1
done
node=$(node "$name")
describe uvcvideo "$node" '--seconds 0 --serial'
sh ask.sh "$node" uvcvideo
# Without its firmware, the webcam leaves the bus.
kill $firmware
for second in $(seq 1 30); do
    [ -e "$node" ] || break
    sleep 1
done
play uvcvideo "$node"
