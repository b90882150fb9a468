# SPDX-License-Identifier: GPL-2.0-only
# The Kbuild files include this. Each sets obj-m, own (files of that module only) and what (for modinfo).
$(obj-m:.o=-y) := exports.o ops.o memops.o dmabuf.o shim.o debug.o link.o $(own) vb3rust.o

ccflags-y := -DVB3_NAME='"$(obj-m:videobuf2-%.o=vb2-%)"' -DVB3_WHAT='"$(what)"'

# The Rust object comes linked: it is the same for all kernels of an architecture.
quiet_cmd_vb3rust = COPY    $@
      cmd_vb3rust = cp $< $@

$(obj)/vb3rust.o: $(obj)/vb3rust.bin FORCE
	$(call if_changed,vb3rust)

targets += vb3rust.o

# Their functions are called from Rust, which needs no prototypes.
uncalled := -Wno-missing-prototypes -Wno-missing-declarations
$(foreach file,shim dmabuf debug link memory pages,$(eval CFLAGS_$(file).o := $(uncalled)))
