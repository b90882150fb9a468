# Times the C module and ours alternately, in one boot: C, Rust, Rust, C, and again. `why=on` of the kernel's
# arguments loads vb2-why first, to measure what its probes cost:
# `cargo xtask vm bench --kernel 7.3 --iommu intel --count --append why=on`.
. /scenario/lib.sh

case " $(cat /proc/cmdline) " in
    *' why=on '*) insmod /scenario/vb2-why.ko || step why.load '"ok":false' ;;
esac

for which in c rust rust c c rust rust c; do
    use_module "$which" || continue
    step "$which.module" "$(module_facts)"
    insmod /scenario/vb3edu.ko instant=1
    within 250 /scenario/bench "$(node vb3edu)" "$which" "$([ "$IOMMU" = none ] || echo iommu)" >/tmp/out
    ended "$which.exit" $?
    cat /tmp/out
    cat /tmp/out >/dev/results
    rmmod vb3edu
    drop_module "$which"
done
