# Another device's memory without pages: exported, and imported by physical address. The stock module
# returns an invalid page and the kernel oopses, so it comes last.
#device ivshmem
. /scenario/lib.sh

echo 0 >/proc/sys/kernel/panic_on_oops
for which in rust c; do
    case " $MODULES " in *" $which "*) ;; *) continue ;; esac
    use_module "$which" || continue
    pool_of "$which"
    [ "$which" = rust ] || break
    show_debug "$which"
    rmmod vb3probe vb3edu
    drop_module "$which"
done
