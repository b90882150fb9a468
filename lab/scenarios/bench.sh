# Times the C module and ours alternately, in one boot: C, Rust, Rust, C, and again.
. /scenario/lib.sh

for which in c rust rust c c rust rust c; do
    use_module "$which" || continue
    step "$which.module" "$(module_facts)"
    insmod /scenario/vb3edu.ko instant=1
    within 250 /scenario/bench "$(node vb3edu)" "$which" "$([ "$IOMMU" = none ] || echo iommu)" >/tmp/out
    cat /tmp/out
    cat /tmp/out >/dev/results
    rmmod vb3edu
    drop_module "$which"
done
