#!/bin/sh
# Makes the root of the arm64 guests: Debian with the programs that tests run. Nothing of arm64 is
# run for it: packages are unpacked, and what their scripts would have set up and programs need is
# set up here.
#
#   make-arm64-root.sh MIRROR OUT
#
# OUT is a directory, and appears only when it is complete.
set -eu

mirror=$1
out=$2
partial=$out.partial
rm -rf "$partial"
mmdebstrap --arch=arm64 --variant=extract \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --aptopt='APT::Install-Recommends "false"' \
    --include=dash,bash,coreutils,grep,sed,diffutils,findutils,util-linux,mount,procps,mawk,tar \
    --include=busybox-static,kmod,udev,v4l-utils,ffmpeg,strace,bindfs,fuse3 \
    --include=gstreamer1.0-tools,gstreamer1.0-plugins-base,gstreamer1.0-plugins-base-apps \
    --include=gstreamer1.0-plugins-good,gstreamer1.0-plugins-bad,gstreamer1.0-libav \
    --include=python3-pyudev,python3-pytest,python3-venv,libavcodec-dev,gcc,libc6-dev \
    trixie "$partial" "deb $mirror trixie main"
cd "$partial"
for dir in bin sbin lib lib64; do
    [ -e "$dir" ] || ln -s "usr/$dir" "$dir"
done
mkdir -p proc sys dev run root tmp out etc home
[ -e usr/bin/sh ] || ln -s dash usr/bin/sh
[ -e usr/bin/awk ] || ln -s mawk usr/bin/awk
# Which of several libraries of one name is taken is for their packages' scripts to say.
for file in usr/lib/aarch64-linux-gnu/blas/lib* usr/lib/aarch64-linux-gnu/lapack/lib*; do
    name=${file##*/}
    [ ! -e "$file" ] || [ -e "usr/lib/aarch64-linux-gnu/$name" ] ||
        ln -s "${file#usr/lib/aarch64-linux-gnu/}" "usr/lib/aarch64-linux-gnu/$name"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n' >etc/passwd
printf 'root:x:0:\nvideo:x:44:\nnogroup:x:65534:\n' >etc/group
echo '127.0.0.1 localhost' >etc/hosts
# pip reads it even where it installs a file.
mkdir -p etc/ssl/certs
cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt
rm -rf usr/share/doc usr/share/locale usr/share/man var/cache/apt var/lib/apt/lists
cd /
mv "$partial" "$out"
