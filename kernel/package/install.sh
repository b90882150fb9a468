#!/bin/sh
# Installs videobuf2-@KIND@ for kernels: install.sh KERNEL...
#
# A kernel for which that fails keeps its own module, and the reason is printed. It always succeeds: the
# package of a kernel that runs it would not be configured otherwise.
#
# dkms builds and signs the module. dkms's own installation would move the kernel's module away; here, depmod
# only prefers ours.
module="-m videobuf3-@KIND@ -v @VERSION@"
data=/var/lib/dkms/videobuf3-@KIND@/@VERSION@
for kernel; do
    to=/lib/modules/$kernel/updates/videobuf3
    rm -f "$to"/videobuf2-@KIND@.ko*
    if [ ! -d "/lib/modules/$kernel/build/include" ]; then
        echo "videobuf3-@KIND@: no headers of $kernel; install them, and this package does the rest" >&2
    else
        # A kernel's update keeps its name, and may change what the module was built for.
        # shellcheck disable=SC2086 # words
        [ ! -d "$data/$kernel" ] || dkms unbuild $module -k "$kernel"
        # shellcheck disable=SC2086 # words
        dkms build $module -k "$kernel"
        result=$?
        # A full disk cuts the copy short. The kernel would load the part, and have no module.
        if [ $result = 0 ] &&
            ! { mkdir -p "$to" && cp "$data/$kernel"/*/module/videobuf2-@KIND@.ko* "$to/"; }; then
            rm -f "$to"/videobuf2-@KIND@.ko*
            result=1
        fi
        if [ $result != 0 ]; then
            echo "videobuf3-@KIND@: not for $kernel, which keeps its own videobuf2-@KIND@" >&2
            # If the package is not for such kernels, dkms builds nothing, and says so.
            [ $result = 77 ] || grep -hs '^error:' "$data/build/make.log" >&2
        fi
    fi
    depmod "$kernel"
done
exit 0
