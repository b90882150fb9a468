#!/bin/sh
# Adds to the build root what arm64 needs: a cross compiler, the kernels' headers and the kernels.
#
#   make-arm64.sh STAMP
#
# Nothing of arm64 is run for it: kbuild's programs are those of this machine's own architecture, which
# Debian makes for all. Package lists have a place of their own, so that what apt knows of this
# machine's kernels stays. The kernels are named in /kernels/arm64.list, and last the word STAMP is
# put into /kernels/arm64.stamp.
set -eu

stamp=$1
export DEBIAN_FRONTEND=noninteractive
state=/kernels/arm64.state
rm -f /kernels/arm64.stamp
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 \
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross

mkdir -p "$state/lists/partial"
cat >"$state/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; "amd64"; };
APT::Sandbox::User "root";
Dir::State::Lists "$state/lists";
Dir::Cache "$state";
CONF
export APT_CONFIG=$state/apt.conf
apt-get update -qq
depends() { apt-cache depends "$1" | sed -n 's/^ *Depends: //p'; }

# Puts packages into a directory, but for drivers that no machine here has: of file systems configfs is
# needed, of graphics drm/clients.
unpack() {
    to=$1
    shift
    rm -rf "$state/debs"
    mkdir -p "$state/debs"
    (cd "$state/debs" && apt-get download -qq "$@")
    for deb in "$state"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$to" \
            --exclude='*/kernel/drivers/net' --exclude='*/kernel/drivers/gpu/drm/[!c]*/*' \
            --exclude='*/kernel/drivers/infiniband' --exclude='*/kernel/drivers/scsi' \
            --exclude='*/kernel/fs/[!c]*' --exclude='*/kernel/net' --exclude='*/kernel/sound' \
            --exclude='./usr/share/doc' --exclude='./usr/lib/linux-image-*'
    done
    rm -r "$state/debs"
}

: >"$state/list"
for suite in trixie trixie-backports; do
    image=$(depends "linux-image-arm64/$suite" | grep '^linux-image-')
    kernel=${image#linux-image-}
    headers=$(apt-cache depends "linux-headers-$kernel" |
        sed -n 's/^ *Depends: \(linux-headers-.*-common\|linux-kbuild-.*\)$/\1/p')
    if [ ! -e "/usr/src/linux-headers-${kernel%-arm64}-common" ]; then
        # shellcheck disable=SC2086 # one word each
        unpack / $(echo "$headers" | sed 's/^\(linux-kbuild-[^:]*\).*/\1:amd64/')
    fi
    unpack / "linux-headers-$kernel"
    # What is there, packages of this machine's modules are built for.
    rm -rf "/usr/lib/modules/$kernel"

    dir=/kernels/$kernel
    rm -rf "$dir"
    mkdir -p "$dir/tree"
    # shellcheck disable=SC2046 # one word each
    unpack "$dir/tree" "$image" $(depends "$image" |
        grep "^linux-\(base\|binary\|modules\)-$kernel\$" || true)
    mv "$(ls "$dir"/tree/boot/vmlinuz-* "$dir"/tree/usr/lib/modules/*/vmlinuz 2>/dev/null |
        head -n 1)" "$dir/vmlinuz"
    [ -e "$dir/tree/lib" ] || ln -s usr/lib "$dir/tree/lib"
    depmod -b "$dir/tree" "$kernel"
    echo "$kernel" >>"$state/list"
done
mv "$state/list" /kernels/arm64.list
rm -rf "$state"
echo "$stamp" >/kernels/arm64.stamp
