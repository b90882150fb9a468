#!/bin/bash
# Prints a variable of dkms's settings, or DEFAULT: setting.sh NAME DEFAULT [KERNEL]
#
# The settings are shell code, which may use the kernel's name. dkms runs it, too.
# shellcheck disable=SC2034 # the settings' own
kernelver=${3:-}
for file in /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf; do
    # shellcheck source=/dev/null
    [ ! -e "$file" ] || . "$file" >/dev/null
done
echo "${!1:-$2}"
