# What a captured frame of 1920x1080 costs: CPU time of the whole machine with vivid, with v4l2loopback and a
# program that writes to it, and with `vb3 run`. v4l2loopback is left out on kernels for which it does not compile.
#needs vb3
#needs peers
. /scenario/lib.sh

cd /tmp
export XDG_STATE_HOME=/tmp
frames=300

# Hundredths of a second in which a processor was busy.
busy() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat; }

# Captures frames: NAME NODE, and words before the command.
capture() {
    name=$1 node=$2
    shift 2
    before=$(busy)
    began=$(cut -d. -f1 /proc/uptime)
    "$@" v4l2-ctl -d "$node" --set-fmt-video=width=1920,height=1080,pixelformat=NV12 --set-parm=30 \
        --stream-mmap=4 --stream-count=$frames >out 2>&1
    code=$?
    us=$((($(busy) - before) * 10000 / frames))
    [ $code = 0 ] && ok=true || ok=false
    step "vb3.$name" "\"ok\":$ok,\"us_per_frame\":$us,\"seconds\":$(($(cut -d. -f1 /proc/uptime) - began))"
    [ $ok = true ] || cat out
}

for round in 1 2 3; do
    modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0
    capture vivid "$(node vivid-000-vid-cap)"
    rmmod vivid
    if [ -e /scenario/v4l2loopback.ko ]; then
        modprobe videodev
        insmod /scenario/v4l2loopback.ko card_label=loopback
        loopback=$(node loopback)
        /scenario/feed "$loopback" &
        until grep -q capture "/sys/class/video4linux/${loopback#/dev/}/state"; do usleep 20000; done
        capture loopback "$loopback"
        kill $!
        wait $!
        rmmod v4l2loopback
    fi
    capture ours /dev/video0 /scenario/vb3 run --device camera=pattern,format=NV12,size=1920x1080,fps=30 --
done
