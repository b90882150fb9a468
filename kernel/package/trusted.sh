#!/bin/sh
# Checks whether a kernel will load modules that dkms signs: trusted.sh HEADERS [MODULE [CERTIFICATE]]
#
# A kernel that does not enforce signatures loads any module. Any other kernel must know dkms's certificate, and
# MODULE must have a signature. The check uses the running kernel's list of keys (/proc/keys), also for kernels
# that are installed but not running. On failure it prints the reason.
set -eu

headers=$1
module=${2:-}
os_release=${OS_RELEASE:-/etc/os-release}
kernel=${headers%/build}
setting() { bash "$(dirname "$0")/setting.sh" "$1" "$2" "${kernel##*/}"; }
# Prints the path of dkms's certificate, as dkms chooses it: on Ubuntu and its derivatives, the setting
# mok_certificate counts only if mok_signing_key is set, too.
of_dkms() {
    family=$(
        ID='' ID_LIKE=''
        # shellcheck source=/dev/null
        [ ! -r "$os_release" ] || . "$os_release"
        [ "$ID" = ubuntu ] || ID=${ID_LIKE:-$ID}
        echo "$ID"
    )
    case $family:$(setting mok_signing_key '') in
        ubuntu*:) echo /var/lib/shim-signed/mok/MOK.der ;;
        *) setting mok_certificate /var/lib/dkms/mok.pub ;;
    esac
}

grep -qs Y /sys/module/module/parameters/sig_enforce ||
    grep -qs '\[\(integrity\|confidentiality\)\]' /sys/kernel/security/lockdown ||
    grep -qs '^CONFIG_MODULE_SIG_FORCE=y' "$headers/.config" || exit 0
certificate=${3:-$(of_dkms)}
if [ ! -s "$certificate" ]; then
    echo "the kernel loads signed modules only, and there is no certificate $certificate (dkms needs openssl)"
    exit 1
fi
# The kernel names a certificate by its subject key identifier, the extension 2.5.29.14.
id=$(od -An -v -tx1 "$certificate" | tr -d ' \n' | sed -n 's/.*0603551d0e04160414\(.\{40\}\).*/\1/p')
if [ -z "$id" ] || ! grep -q "X509.*$id\|asymmetri.*$id" /proc/keys; then
    echo "the kernel loads signed modules only, and does not know $certificate:" \
        "enrol it (mokutil --import $certificate), reboot, and configure this package again"
    exit 1
fi
if [ -n "$module" ] && [ -z "$(modinfo -F signer "$module")" ]; then
    echo "the kernel loads signed modules only, and dkms could not sign $module: its output has the reason"
    exit 1
fi
