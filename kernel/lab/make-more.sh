#!/bin/sh
# Adds stock kernels of x86-64 to the build root that CI does not run: Debian's with PREEMPT_RT, and Debian 12's.
#
#   make-more.sh MIRROR STAMP
#
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
mv "$state/list" /kernels/more.list
rm -rf "$state"
echo "$stamp" >/kernels/more.stamp
