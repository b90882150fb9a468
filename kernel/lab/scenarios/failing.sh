# 100,000 random operations while one in ten of the kernel's allocations fails: first of slab memory,
# then of pages. Needs the checked kernel, which makes them fail and finds leaks.
. /scenario/lib.sh

may_be_blind=Y
[ "$IOMMU" = none ] && mask=0xffffffff || mask=0xfffffff
use_module rust
insmod /scenario/vb3edu.ko mask=$mask instant=1
device=$(node vb3edu)
for kind in failslab fail_page_alloc; do
    dir=/sys/kernel/debug/$kind
    if ! cd "$dir"; then
        step rust.failing "\"ok\":false,\"missing\":\"$dir\""
        break
    fi
    echo N >ignore-gfp-wait
    echo Y >task-filter
    echo 0 >verbose
    [ -e min-order ] && echo 0 >min-order
    echo 1000000000 >times
    echo 10 >probability
    for seed in 1 2 3 4 5; do
        within 250 /scenario/stress "$device" $seed 10000 failing
        ended "rust.$kind-$seed" $?
    done
    echo 0 >probability
    failed=$((1000000000 - $(cat times)))
    [ "$failed" -gt 100 ] && ok=true || ok=false
    step "rust.$kind" "\"failed\":$failed,\"ok\":$ok"
    cd /
done
complaints rust
show_debug rust
rmmod vb3edu
drop_module rust
