# Builds vb2-why for the image's kernel. Copy this directory to meta-YOURS/recipes-kernel/vb2-why, set EXTERNALSRC to
# kernel/vb2-why of a clone (or SRC_URI to your mirror), and add to the image: IMAGE_INSTALL:append = " kernel-module-vb2-why"
SUMMARY = "Says why the kernel refused video buffers, and who holds them"
HOMEPAGE = "https://github.com/videobuf3/videobuf3"
LICENSE = "GPL-2.0-only"
LIC_FILES_CHKSUM = "file://probes.c;beginline=1;endline=1;md5=fcab174c20ea2e2bc0be64b493708266"

inherit module externalsrc

EXTERNALSRC ?= "${TOPDIR}/../videobuf3/kernel/vb2-why"
EXTERNALSRC_BUILD = "${EXTERNALSRC}"

# The image does not load the module at boot. When a call is refused, load it with modprobe vb2-why.
