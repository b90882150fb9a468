# `vb3 run` on a real kernel: programs pass dma-bufs of the kernel's own drivers through it, and its
# exports are real dma-bufs.
#needs vb3
. /scenario/lib.sh

modprobe udmabuf 2>/dev/null
modprobe system_heap 2>/dev/null
cd /tmp
export XDG_STATE_HOME=/tmp
shape=format=YUYV,size=320x240,pace=free,hints=off
vb3=/scenario/vb3
version=$($vb3 --version 2>&1) && right=true || right=false
step vb3.version "\"ok\":$right,\"says\":\"$(echo "$version" | tr -d '"\\\\' | tr '\n' ' ')\""

# Whether a run released everything.
nothing_held() {
    [ -s report.json ] && ! sed -n '/"held": {/,/}/p' report.json | grep -q ': [1-9]'
}

# A step of a run: its name, its output, whether all is correct.
told() {
    nothing_held && held=none || held=some
    [ "$held" = none ] && [ "$3" = true ] && ok=true || ok=false
    step "vb3.$1" "\"ok\":$ok,\"seen\":\"$2\",\"held\":\"$held\""
    [ "$ok" = true ] || cat err report.json
}

# Rows of the errno table: name, machine, cap|out, options, word, expected result.
rows() {
    case $3 in
        cap) first=camera second=display ;;
        out) first=display second=camera ;;
    esac
    rm -f report.json
    seen=$($vb3 run --machine "$2" --report report.json \
        --device "$first,$shape$4" --device "$second,$shape$4" \
        -- /scenario/rows_other "$3" /dev/video0 /dev/video1 $5 2>err | tr '\n' ' ')
    [ "$seen" = "$6 " ] && right=true || right=false
    told "$1-$3" "$seen" $right
}

for way in cap out; do
    rows scattered soc-cma $way '' '' 'import.of-a-heap EFAULT import.of-udmabuf EFAULT'
    why=$($vb3 why | tr '\n' ' ')
    case $why in
        *'QBUF on /dev/video0 failed with EFAULT'*'in one run of addresses'*) right=true ;;
        *) right=false ;;
    esac
    step vb3.why-$way "\"ok\":$right,\"says\":\"$(echo "$why" | tr -d '"\\')\""
    rows iommu soc-iommu $way ,userptr=on userptr 'import.of-a-heap 0 import.of-udmabuf 0 userptr.qbuf.of-a-heap EFAULT userptr.qbuf.of-udmabuf EFAULT'
    rows vmalloc pc $way ,alloc=vmalloc userptr 'import.of-a-heap 0 import.of-udmabuf 0 userptr.qbuf.of-a-heap EFAULT userptr.qbuf.of-udmabuf EFAULT'
done

# The display shows exactly the bytes that the CPU wrote or read of each picture, without a copy. Each
# buffer is mapped once per device, whether a program uses four buffers or always new ones.
for machine in soc-iommu soc-noncoherent pc; do
    for kind in udmabuf heap; do
        for way in show pass many; do
            rm -f report.json shown.raw seen.raw
            $vb3 run --machine $machine --report report.json \
                --device "camera=pattern,$shape" --device "display=shown.raw,$shape" \
                -- /scenario/other $way $kind 12 seen.raw >out 2>err
            code=$?
            bytes=$(wc -c <seen.raw)
            maps=$(grep -o '"maps": [0-9]*' report.json | tr -dc '0-9\n' | tr '\n' ' ')
            case $way in
                show) wanted='0 4 ' ;;
                pass) wanted='4 4 ' ;;
                many) wanted='0 12 ' ;;
            esac
            right=false
            [ $code = 0 ] && [ "$bytes" = $((12 * 320 * 240 * 2)) ] &&
                cmp -s seen.raw shown.raw && [ "$maps" = "$wanted" ] &&
                ! grep -q '"bytes_copied": [1-9]' report.json && right=true
            told "$way-$kind-$machine" "code $code, $bytes bytes, maps $maps" $right
        done
    done
done

# Exports as real dma-bufs, used by stock programs.
rm -f report.json
$vb3 run --machine soc-iommu --report report.json \
    --device "camera=pattern,$shape" --device "display=shown.raw,$shape" \
    -- sh -c 'v4l2-ctl -d /dev/video1 --stream-out-dmabuf --export-device /dev/video0 \
        --stream-count 8 >/dev/null && v4l2-compliance -d /dev/video0 -s' >out 2>err
code=$?
seen=$(grep '^Total for' out | tail -n 1 | tr -d '"\\')
case "$code $seen" in
    '0 '*'Failed: 0, Warnings: 0'*) right=true ;;
    *) right=false ;;
esac
told exports "$seen" $right
