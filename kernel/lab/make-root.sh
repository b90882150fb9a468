#!/bin/sh
# Makes the build root: Debian with the compilers, the kernels' headers and the kernels themselves.
#
#   make-root.sh MIRROR ROOT
#
# MIRROR is the Debian mirror of this machine. ROOT appears only when it is complete. The kernels
# found are named in ROOT/kernels.
set -eu

mirror=$1
root=$2
partial=$root.partial
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
rm -rf "$partial"

mmdebstrap --variant=apt --keyring="$keyring" --skip=cleanup/apt \
    --aptopt='APT::Install-Recommends "false"' --aptopt='APT::Sandbox::User "root"' \
    --include=gcc-14,gcc,make,libc6-dev,linux-libc-dev,rustc,rust-src,kmod,cpio,gzip,xz-utils \
    --include=linux-headers-amd64 \
    trixie "$partial" "deb $mirror trixie main" "deb $mirror trixie-backports main"

inside() { chroot "$partial" env DEBIAN_FRONTEND=noninteractive "$@"; }
inside apt-get install -y -qq -t trixie-backports linux-headers-amd64

# The newest kernel of each suite, with the packages its files lie in.
depends() { inside apt-cache depends "$1" | sed -n 's/^ *Depends: //p'; }
for suite in trixie trixie-backports; do
    image=$(depends "linux-image-amd64/$suite" | grep '^linux-image-' | head -n 1)
    version=${image#linux-image-}
    tree=/kernels/$version
    inside mkdir -p "$tree"
    inside sh -c "cd $tree && apt-get download -qq $image \$(apt-cache depends $image |
        sed -n 's/^ *Depends: \(linux-\(base\|binary\|modules\)-$version\)\$/\1/p')"
    inside sh -c "cd $tree && for deb in *.deb; do dpkg-deb -x \$deb tree; rm \$deb; done"
    inside sh -c "cd $tree && mv \$(ls tree/boot/vmlinuz-* tree/usr/lib/modules/*/vmlinuz \
        2>/dev/null | head -n 1) vmlinuz && [ -e tree/lib ] || ln -s usr/lib tree/lib"
    inside depmod -b "$tree/tree" "$version"
    echo "$version" >>"$partial/kernels.new"
done
inside apt-get clean
mv "$partial/kernels.new" "$partial/kernels.list"
mv "$partial" "$root"
