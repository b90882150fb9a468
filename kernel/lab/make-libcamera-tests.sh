#!/bin/sh
# Builds this system's libcamera with its own tests, from Debian's source.
#
#   make-libcamera-tests.sh MIRROR SUITE OUT
#
# OUT/tests.json lists the tests once all is built. They run where they were built.
set -eu

mirror=$1
suite=$2
out=$3
# Debian's Python has the modules that the build needs.
export PATH="/usr/bin:/bin:$PATH"
rm -rf "$out"
mkdir -p "$out/lists/partial" "$out/cache/archives/partial"
cd "$out"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb-src [signed-by=$keyring] $mirror $suite main" >sources.list
# Lists of its own leave the system's as they are.
apt="apt-get -q -o Dir::Etc::SourceList=$out/sources.list -o Dir::Etc::SourceParts=- \
    -o Dir::State::Lists=$out/lists -o Dir::Cache=$out/cache -o APT::Sandbox::User=root"
$apt update
$apt source libcamera
source=$(echo "$out"/libcamera-*/)
meson setup build "$source" -Dpipelines=vimc,uvcvideo,simple -Dipas=vimc -Dtest=true -Dv4l2=true \
    -Dcam=enabled -Dqcam=disabled -Dgstreamer=enabled -Dlc-compliance=disabled \
    -Ddocumentation=disabled -Dtracing=disabled -Dwerror=false -Dbuildtype=plain
ninja -C build
meson introspect --tests build >tests.json.partial
mv tests.json.partial tests.json
