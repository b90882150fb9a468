#!/bin/sh
# Unpacks v4l-utils of a release of Debian's with the libraries it needs, to run beside this system's.
#
#   make-v4l-utils.sh MIRROR SUITE OUT
#
# OUT, which appears only when it is complete, has wrappers/v4l2-compliance. Packages are unpacked, and
# nothing of theirs is run for it.
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
    --include=v4l-utils "$suite" "$partial" "deb $mirror $suite main"
rm -rf "$partial/usr/share"
[ -e "$partial/lib64" ] || ln -s usr/lib64 "$partial/lib64"
mkdir -p "$partial/wrappers"
cat >"$partial/wrappers/v4l2-compliance" <<END
#!/bin/sh
# By its own loader and libraries, which may be newer than this system's.
exec $out/lib64/ld-linux-x86-64.so.2 --library-path $out/usr/lib/x86_64-linux-gnu \\
    $out/usr/bin/v4l2-compliance "\$@"
END
chmod +x "$partial/wrappers/v4l2-compliance"
mv "$partial" "$out"
