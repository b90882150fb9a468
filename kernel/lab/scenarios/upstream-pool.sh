# The patches of docs/upstream: exported memory without pages. The kernel oopses on the stock module's
# result, so that comes last. Kernels before 6.18 lack what page-less calls.
#device ivshmem
#needs patched
. /scenario/lib.sh

echo 0 >/proc/sys/kernel/panic_on_oops
modprobe videobuf2-vmalloc
for which in page-less patched c; do
    patch=
    [ $which = c ] || [ -e /scenario/patched-page-less-$module.ko ] || continue
    [ $which != page-less ] || { patch=page-less which=patched; }
    use_module "$which" || continue
    pool_of "$which${patch:+.$patch}"
    [ "$which" = patched ] || break
    rmmod vb3probe vb3edu
    drop_module "$which"
done
