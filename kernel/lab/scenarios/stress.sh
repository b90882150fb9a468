# Our module under random operations, killed programs, failing steps, and 200 rounds of load, stream and
# unload. Afterwards it holds nothing, and slab and free memory have their former size.
. /scenario/lib.sh

free_kb() { sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo; }
# Without an IOMMU and a bounce pool, the kernel warns of memory above a narrow mask.
[ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
load() {
    use_module "$1" && insmod /scenario/vb3edu.ko mask=$mask instant=1
    device=$(node vb3edu)
}

# The stock module's run is useful only with checkers.
is_checked || MODULES=rust
for which in $MODULES; do
    load "$which" || continue
    for seed in 1 2 3; do
        within 100 /scenario/stress "$device" $seed 10000
        ended "$which.random-$seed" $?
    done
    for seed in $(seq 1 30); do
        /scenario/stress "$device" $seed 100000000 &
        program=$!
        usleep $((seed * 7919 % 60000 + 5000))
        kill -KILL $program
        wait $program 2>/dev/null
    done
    step "$which.killed" '"programs":30'
    # The stock module has no deliberate failures.
    if [ "$which" = rust ]; then
        for every in 2 3 5 7 13; do
            echo $every >/sys/module/videobuf2_dma_contig/parameters/fail_every
            within 100 /scenario/stress "$device" $every 5000 foreign
            ended "rust.failing-each-$every" $?
        done
        echo 0 >/sys/module/videobuf2_dma_contig/parameters/fail_every
    fi
    # Before the unload, since excused complaints are not counted afterwards.
    complaints "$which"
    rmmod vb3edu
    drop_module "$which"
done
case " $MODULES " in *" rust "*) ;; *) exit ;; esac

# The checked kernel takes ten times as long per round, and it counts leaks directly.
rounds=200
is_checked && rounds=20
before_slab=0
# Each CPU keeps free pages of its own, which do not count as free: by default up to an eighth of the memory.
echo 1000 >/proc/sys/vm/percpu_pagelist_high_fraction
for round in $(seq 1 $rounds); do
    insmod /scenario/videobuf2-dma-contig.ko && insmod /scenario/vb3edu.ko mask=$mask instant=1
    /scenario/stress "$(node vb3edu)" "$round" 60
    rmmod vb3edu
    rmmod videobuf2-dma-contig
    if [ "$round" = $((rounds / 4)) ]; then
        before_slab=$(slab)
        before_free=$(free_kb)
    fi
    [ $((round % (rounds / 4))) = 0 ] && step rust.rounds "\"done\":$round,\"slab_kb\":$(slab)"
done
grown=$(($(slab) - before_slab))
lost=$((before_free - $(free_kb)))
held=$(dmesg | grep -c 'unloaded with')
ok=true
# 150 rounds that leaked one page each would be visible. A kernel that counts leaks delays frees, so
# these figures mean nothing there.
is_checked || { [ "$grown" -lt 512 ] && [ "$lost" -lt 8192 ]; } || ok=false
[ "$held" = 0 ] || ok=false
step rust.growth "\"slab_kb\":$grown,\"lost_kb\":$lost,\"unloads_with_something_held\":$held,\"ok\":$ok"
complaints rust
checkers rust
