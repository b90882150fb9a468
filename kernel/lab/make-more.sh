#!/bin/sh
# Adds kernels to the build root that CI does not use.
#
#   make-more.sh MIRROR STAMP
#
# Two are stock kernels of x86-64: Debian's with PREEMPT_RT, and Debian 12's. For two, modules can only be compiled:
# the newest stock kernel's configuration for Clang, without IBT on x86-64, and with shadow call stacks on arm64.
# Package lists have a place of their own, as in make-arm64.sh. /kernels/more.list names the kernels, and
# /kernels/more.stamp gets the word STAMP last.
set -eu

mirror=$1
stamp=$2
state=/kernels/more.state
rm -rf /kernels/more.stamp "$state"
mkdir -p "$state/lists/partial" "$state/debs"
for suite in bookworm trixie; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$state/sources"
cat >"$state/apt.conf" <<CONF
APT::Sandbox::User "root";
Dir::Etc::SourceList "$state/sources";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$state/lists";
Dir::Cache "$state";
CONF
export APT_CONFIG=$state/apt.conf
apt-get update -qq

: >"$state/list"
for wanted in linux-image-amd64/bookworm linux-image-rt-amd64/trixie; do
    image=$(apt-cache depends "$wanted" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
    kernel=${image#linux-image-}
    dir=/kernels/$kernel
    rm -rf "$dir"
    mkdir -p "$dir/tree"
    # Of the packages that the image and the headers need, those of this kernel.
    packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$image" "linux-headers-$kernel" |
        grep -xE 'linux-(image|base|binary|modules|headers|kbuild)-[0-9].*' | sort -u)
    # shellcheck disable=SC2086 # one word each
    (cd "$state/debs" && apt-get download -qq $packages)
    for deb in "$state"/debs/*.deb; do
        case $deb in
            */linux-headers-* | */linux-kbuild-*) to=/ ;;
            *) to=$dir/tree ;;
        esac
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$to" --exclude='*/kernel/drivers/net' \
            --exclude='*/kernel/sound' --exclude='./usr/share/doc'
        rm "$deb"
    done
    mv "$(ls "$dir"/tree/boot/vmlinuz-* "$dir"/tree/usr/lib/modules/*/vmlinuz 2>/dev/null | head -n 1)" "$dir/vmlinuz"
    # Debian 12's packages have /lib, newer ones /usr/lib.
    mkdir -p "$dir/tree/usr/lib"
    [ ! -d "$dir/tree/lib/modules" ] || { mv "$dir/tree/lib/modules" "$dir/tree/usr/lib/" && rm -r "$dir/tree/lib"; }
    [ -e "$dir/tree/lib" ] || ln -s usr/lib "$dir/tree/lib"
    depmod -b "$dir/tree" "$kernel"
    echo "$kernel" >>"$state/list"
done
unset APT_CONFIG

# Prepares a kernel's source for the compilation of modules: prepare STOCK NAME HEADERS ARCH OPTION...
# An option is a word of scripts/config.
stock=$(tail -n 1 /kernels.list)
series=$(echo "$stock" | cut -d. -f1-2)
version=$(dpkg-query -W -f='${Version}' "linux-headers-$stock")
apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends flex bison bc libelf-dev libssl-dev clang lld llvm
(cd "$state" && apt-get download -qq "linux-source-$series=$version")
prepare() {
    from=$1 name=$2 headers=$3 make="make -s LLVM=1 ARCH=$4"
    shift 4
    tree=/kernels/$name/build
    rm -rf "/kernels/$name"
    mkdir -p "$tree" "${headers%/*}"
    dpkg-deb --fsys-tarfile "$state"/linux-source-*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
        tar -xJ --strip-components=1 -C "$tree" --exclude='*/drivers/*.[ch]' --exclude='*/sound/*.[ch]' \
            --exclude='*/Documentation/*/*' --exclude='*/tools/testing/*' --exclude='*/tools/perf/*'
    cp "$from/.config" "$from/Module.symvers" "$tree/"
    cd "$tree"
    # shellcheck disable=SC2086 # one word each
    scripts/config --disable RUST --disable DEBUG_INFO_BTF --set-str SYSTEM_TRUSTED_KEYS '' "$@"
    $make olddefconfig
    $make modules_prepare
    ln -sfn "$tree" "$headers"
    echo "$name" >>"$state/list"
}
prepare "/lib/modules/$stock/build" "$series-clang" "/lib/modules/$series-clang/build" x86_64 --disable X86_KERNEL_IBT \
    --disable LIVEPATCH
stock=$(tail -n 1 /kernels/arm64.list)
prepare "/usr/src/linux-headers-$stock" "$series-clang-arm64" "/usr/src/linux-headers-$series-clang-arm64" arm64 \
    --enable SHADOW_CALL_STACK
grep -q '^CONFIG_SHADOW_CALL_STACK=y' .config
! grep -q '^CONFIG_X86_KERNEL_IBT=y' "/lib/modules/$series-clang/build/.config"
mv "$state/list" /kernels/more.list
rm -rf "$state"
echo "$stamp" >/kernels/more.stamp
