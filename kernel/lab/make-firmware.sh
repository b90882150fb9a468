#!/bin/sh
# Makes a machine under UEFI Secure Boot whose owner has enrolled a certificate, in the build root:
#
#   make-firmware.sh CERTIFICATE OUT
#
# OUT/code and OUT/variables are the firmware. The variable MokListRT has the certificate; shim would put it
# there for the kernel. QEMU starts the kernel by a loader that does not check it. The kernel sees that
# Secure Boot is on, and demands signed modules.
set -eu

certificate=$1
out=$2
dpkg -s ovmf python3-virt-firmware >/dev/null 2>&1 ||
    apt-get install -y -qq --no-install-recommends ovmf python3-virt-firmware
mkdir -p "$out"
cp /usr/share/OVMF/OVMF_CODE_4M.secboot.fd "$out/code"

# Print bytes in hexadecimal: hex those of a file, little those of a 32-bit little-endian number.
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
little() { printf '%08x' "$1" | sed 's/\(..\)\(..\)\(..\)\(..\)/\4\3\2\1/'; }
# EFI_SIGNATURE_LIST with EFI_CERT_X509_GUID, and one entry of its owner, all zeroes.
size=$(wc -c <"$certificate")
owner=00000000000000000000000000000000
list=a159c0a5e494a74a87b5ab155c2bf072$(little $((size + 44)))$(little 0)$(little $((size + 16)))
cat >"$out/variables.json" <<JSON
{"version": 2, "variables": [{"name": "MokListRT", "guid": "605dab50-e046-4300-abb6-3dd810dd8b23",
  "attr": 7, "data": "$list$owner$(hex "$certificate")"}]}
JSON
openssl req -new -x509 -nodes -days 36500 -newkey rsa:2048 -subj '/CN=owner of the machine' \
    -keyout "$out/owner.key" -out "$out/owner.pem"
virt-fw-vars --input /usr/share/OVMF/OVMF_VARS_4M.fd --enroll-cert "$out/owner.pem" --no-microsoft \
    --add-db a0baa8a3-041d-48a8-bc87-c36d121b5e3d "$out/owner.pem" --secure-boot \
    --set-json "$out/variables.json" --output "$out/variables"
