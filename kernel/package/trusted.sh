#!/bin/sh
# Whether a kernel will load modules that dkms signs: trusted.sh HEADERS [MODULE [CERTIFICATE]]
#
# A kernel that does not enforce signatures loads any. Else it must know dkms's certificate, and MODULE must
# have a signature. The running kernel's list of keys (/proc/keys) is the judge, also of kernels that are only
# installed. On failure it prints the reason.
set -eu

headers=$1
module=${2:-}
certificate=/var/lib/dkms/mok.pub
! grep -qs '^ID=ubuntu' /etc/os-release || certificate=/var/lib/shim-signed/mok/MOK.der
for settings in /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf; do
    [ -e "$settings" ] || continue
    named=$(sed -n 's/^mok_certificate="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$settings")
    certificate=${named:-$certificate}
done
certificate=${3:-$certificate}

grep -qs Y /sys/module/module/parameters/sig_enforce ||
    grep -qs '\[\(integrity\|confidentiality\)\]' /sys/kernel/security/lockdown ||
    grep -qs '^CONFIG_MODULE_SIG_FORCE=y' "$headers/.config" || exit 0
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
