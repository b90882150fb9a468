#!/bin/sh
# Unpacks v4l-utils, libcamera and GStreamer of a release of Debian's with the libraries they need, to
# run beside this system's.
#
#   make-video-programs.sh MIRROR SUITE OUT
#
# OUT, which appears only when it is complete, has the programs in OUT/wrappers. Packages are unpacked,
# and nothing of theirs is run for it.
set -eu

mirror=$1
suite=$2
out=$3
partial=$out.partial
rm -rf "$partial"
# A mirror that stands still, as a snapshot does, has a list of sid's that says it is too old. That
# it is Debian's is checked by its signature all the same.
mmdebstrap --variant=extract \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=v4l-utils,libcamera-tools,libcamera-ipa,gstreamer1.0-libcamera,gstreamer1.0-tools \
    --include=gstreamer1.0-plugins-base,gstreamer1.0-plugins-base-apps,gstreamer1.0-plugins-bad \
    "$suite" "$partial" "deb $mirror $suite main"
mv "$partial/usr/share/libcamera" "$partial/usr/libcamera"
rm -rf "$partial/usr/share" "$partial/var"
[ -e "$partial/lib64" ] || ln -s usr/lib64 "$partial/lib64"
mkdir -p "$partial/wrappers"
for program in v4l2-compliance cam lc-compliance gst-launch-1.0 gst-inspect-1.0 \
    gst-device-monitor-1.0; do
    cat >"$partial/wrappers/$program" <<END
#!/bin/sh
# By its own loader, libraries and plugins, which may be newer than this system's.
lib=$out/usr/lib/x86_64-linux-gnu
# libcamera 0.7 has its modules in libcamera/ipa; older versions have them in libcamera.
export LIBCAMERA_IPA_MODULE_PATH=\$lib/libcamera/ipa:\$lib/libcamera
export LIBCAMERA_IPA_CONFIG_PATH=$out/usr/libcamera/ipa
export GST_PLUGIN_SYSTEM_PATH_1_0=\$lib/gstreamer-1.0
export GST_REGISTRY=$out/registry.bin GST_REGISTRY_FORK=no
exec $out/lib64/ld-linux-x86-64.so.2 --library-path \$lib:\$lib/pulseaudio $out/usr/bin/$program "\$@"
END
    chmod +x "$partial/wrappers/$program"
done
mv "$partial" "$out"
