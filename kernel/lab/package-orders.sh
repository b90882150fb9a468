# Part of package-test.sh: in each order of upgrades and removals of the package and of kernels, each
# kernel loads the right module. Sourced; uses its functions and variables.
#
# One kernel is installed all the time ($first), and one comes, changes and goes (6.12.0-comes).

for kernel in $(cat "$list"); do
    [ "$kernel" = "$first" ] || rm -r "/lib/modules/$kernel"
done
new=$(dpkg-deb -f "$next" Version)
old=$(dpkg-deb -f "$this" Version)
comes=6.12.0-comes
ours=updates/videobuf3
theirs=kernel/drivers
force=${cross:+--force-architecture}

# Prints the step, and checks that exactly one version is known to dkms, or none (-).
order() {
    echo "--- $1"
    found=$(ls "/var/lib/dkms/videobuf3-dma-contig" 2>/dev/null | grep -v '^kernel-' || echo -)
    [ "$found" = "$2" ] || { echo "error: dkms has version $found, not $2" >&2; exit 1; }
}
add() { dpkg $force -i "$1"; }
# Runs hooks as a kernel's package does. Any failure would leave that package unconfigured.
kernel_hooks() { run-parts --exit-on-error --arg="$2" "/etc/kernel/$1.d"; }

add "$this"
order 'package installed' "$old"
all_in $ours "$first"
add "$next"
order 'package upgraded' "$new"
all_in $ours "$first"
add "$this"
order 'package downgraded' "$old"
all_in $ours "$first"
add "$this"
order 'package installed again' "$old"
all_in $ours "$first"

rm -rf /tmp/failing
dpkg-deb -R "$next" /tmp/failing
printf '#!/bin/sh\nexit 1\n' >/tmp/failing/DEBIAN/preinst
chmod 755 /tmp/failing/DEBIAN/preinst
dpkg-deb -b /tmp/failing /tmp/failing.deb
! add /tmp/failing.deb || exit 1
order 'package kept after an upgrade that failed' "$old"
all_in $ours "$first"
full=/lib/modules/$first/$ours
mount -t tmpfs -o size=4k full "$full"
add "$this"
order 'package installed on a full disk' "$old"
all_in $theirs "$first"
umount "$full"
add "$this"
order 'and again, when there is room' "$old"
all_in $ours "$first"

# The file system of all modules: room SIZE
room() { mount -o remount,size="$1" /usr/lib/modules; }
room "$(df -k --output=used /usr/lib/modules | tail -n 1 | tr -d ' ')k"
! dpkg -r "$name" || exit 1
order 'package not removed, since a full disk has no room for an index' "$old"
all_in $ours "$first"
[ -e "$(modinfo -k "$first" -n "videobuf2-dma-contig")" ]
room 50%
dpkg -r "$name"
order 'removed, when there is room' -
all_in $theirs "$first"
add "$this"
all_in $ours "$first"

copy "$first" $comes
kernel_hooks postinst $comes
order 'kernel installed after the package' "$old"
all_in $ours "$first" $comes
kernel_hooks header_postinst $comes
all_in $ours $comes
change $comes
kernel_hooks postinst $comes
order 'kernel updated, with other checksums' "$old"
all_in $ours "$first"
all_in $theirs $comes
add "$next"
order 'package upgraded beside it' "$new"
all_in $ours "$first"
all_in $theirs $comes
kernel_hooks prerm $comes
remove_copy $comes
order 'kernel removed before the package' "$new"
dpkg -r "$name"
order 'package removed' -
all_in $theirs "$first"

copy "$first" $comes
kernel_hooks postinst $comes
order 'kernel installed after the removal' -
all_in $theirs "$first" $comes
add "$this"
order 'package installed for both' "$old"
all_in $ours "$first" $comes
rm -r /tmp/headers-$comes
dpkg -r "$name"
order 'headers removed, then the package' -
all_in $theirs "$first" $comes
rm -r /lib/modules/$comes

add "$this"
rm -r "/var/lib/dkms/videobuf3-dma-contig"
order 'data of dkms lost' -
dpkg -r "$name"
all_in $theirs "$first"
add "$this"
rm -r "/usr/src/videobuf3-dma-contig-$old"
order 'source lost' "$old"
dpkg -r "$name"
order 'package removed without its source' -
all_in $theirs "$first"

# Settings of the machine's owner.
[ ! -e "/lib/modules/$first/updates" ]
mkdir -p /etc/depmod.d
echo "override videobuf2-dma-contig * $stock" >/etc/depmod.d/videobuf3.conf
add "$this" >$log 2>&1 || { cat $log; exit 1; }
grep "^videobuf3-dma-contig: $first would load /lib/modules/$first/$stock/" $log
order 'package installed, but depmod prefers the own module' "$old"
rm /etc/depmod.d/videobuf3.conf
configure=/var/lib/dpkg/info/${name%:*}.postinst
$configure configure "$old"
order 'package configured again, when depmod prefers ours' "$old"
all_in $ours "$first"
dpkg -r "$name"
settings=/etc/dkms/framework.conf.d/videobuf3.conf
mkdir -p ${settings%/*} /tmp/moved
echo 'dkms_tree=/tmp/moved' >$settings
add "$this"
$configure configure "$old"
order 'package installed and configured again, with a dkms_tree' -
all_in $ours "$first"
dpkg -r "$name"
all_in $theirs "$first"
[ ! -e "/tmp/moved/videobuf3-dma-contig" ]
rm -r $settings /tmp/moved
