#!/bin/sh
# Compiles the modules for the kernel of Debian 12 (6.1), in the build root. Nothing runs them there.
#
#   older.sh SOURCES RUST OUT
set -eu

sources=$1
rust=$2
out=$3
state=/older
if [ ! -e $state/headers ]; then
    mkdir -p $state/lists/partial
    mirror=$(sed -n 's/^deb \([^ ]*\) trixie main.*/\1/p' /etc/apt/sources.list | head -n 1)
    echo "deb $mirror bookworm main" >$state/sources.list
    export APT_CONFIG=$state/apt.conf
    cat >$APT_CONFIG <<END
Dir::Etc::SourceList "$state/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$state/lists";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
END
    apt-get update -qq
    depends() { apt-cache depends "$1/bookworm" | sed -n 's/^ *Depends: \(linux-[a-z]*-6\.1[^ ]*\)$/\1/p'; }
    headers=$(depends linux-headers-amd64)
    cd $state
    # shellcheck disable=SC2046 # one word each
    apt-get download -qq $(for name in $headers $(depends "$headers"); do echo "$name/bookworm"; done)
    for deb in ./*.deb; do
        dpkg-deb -x "$deb" tree
    done
    rm ./*.deb
    sed -i "s|/usr/src|$state/tree/usr/src|" "tree/usr/src/$headers/Makefile"
    echo "$state/tree/usr/src/$headers" >headers
fi
for dir in "$sources"/kernel/module/*/; do
    module=$(basename "$dir")
    rm -rf "${out:?}/$module"
    sh "$sources/lab/lay-out.sh" "$sources" "$rust" x86-64 "$module" "$out/$module"
    sh "$sources/kernel/package/build.sh" "$out/$module" "$(cat $state/headers)" CC=gcc-14 KCFLAGS=-Werror
done
