################################################################################
#
# vb2-why
#
################################################################################

# Copy this directory to package/vb2-why of an external tree. A clone's kernel/vb2-why is the source:
# make VB2_WHY_OVERRIDE_SRCDIR=/path/to/videobuf3/kernel/vb2-why vb2-why
VB2_WHY_VERSION = local
VB2_WHY_SITE = $(VB2_WHY_OVERRIDE_SRCDIR)
VB2_WHY_SITE_METHOD = local
VB2_WHY_LICENSE = GPL-2.0

define VB2_WHY_LINUX_CONFIG_FIXUPS
	$(call KCONFIG_ENABLE_OPT,CONFIG_KPROBES)
	$(call KCONFIG_ENABLE_OPT,CONFIG_KALLSYMS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_DEBUG_FS)
endef

$(eval $(kernel-module))
$(eval $(generic-package))
