#!/bin/sh
# Fills in a sender and the commit ids of `Fixes:`, so that patches can be sent:
#
#   fill-in.sh "NAME <ADDRESS>" LINUX OUT
#
# LINUX is a clone of Linux with its history. OUT gets the patches of `series`. The sender signs them off: read
# https://developercertificate.org first.
set -eu

who=$1
linux=$2
out=$3
here=$(dirname "$0")
echo "$who" | grep -qE '^[^<>]+ <[^<>@ ]+@[^<>@ ]+\.[^<>@ ]+>$' || {
    echo "error: \"$who\": write \"NAME <ADDRESS>\"" >&2
    exit 1
}
! echo "$who" | grep -qiE '@(.*\.)?(invalid|example\.[a-z]+)>|no-?reply' || {
    echo "error: $who: maintainers must be able to answer this address" >&2
    exit 1
}
mkdir -p "$out"
while read -r patch _; do
    WHO=$who awk '{ gsub(/SENDER <sender@example\.invalid>/, ENVIRON["WHO"]); print }' "$here/$patch" >"$out/$patch"
    subject=$(sed -n 's/^Fixes: 0\{12\} ("\(.*\)")$/\1/p' "$out/$patch")
    [ -n "$subject" ] || continue
    id=$(git -C "$linux" log -1 --abbrev=12 --format=%h --fixed-strings --grep="$subject" -- drivers/media)
    [ -n "$id" ] || {
        echo "error: $linux has no commit \"$subject\", which $patch names" >&2
        exit 1
    }
    sed -i "s/^Fixes: 0\{12\} /Fixes: $id /" "$out/$patch"
done <"$here/series"
! grep -rlE 'sender@example\.invalid|^Fixes: 0{12}' "$out"
