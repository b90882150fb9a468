// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exported symbol of videobuf2-vmalloc.
 *
 * The includes must be those of the kernel's own file: with MODVERSIONS, the CRC of an exported symbol
 * covers every visible definition of the types that it uses.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <media/videobuf2-v4l2.h>
#include <media/videobuf2-vmalloc.h>
#include <media/videobuf2-memops.h>

#include "vb3.h"

const struct vb2_mem_ops vb2_vmalloc_memops = {
	VB3_MEM_OPS,
};
EXPORT_SYMBOL_GPL(vb2_vmalloc_memops);
