// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exported symbol of videobuf2-dma-sg.
 *
 * The includes must be those of the kernel's own file: with MODVERSIONS, the CRC of an exported symbol
 * covers every visible definition of the types that it uses.
 */
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <media/videobuf2-v4l2.h>
#include <media/videobuf2-memops.h>
#include <media/videobuf2-dma-sg.h>

#include "vb3.h"

const struct vb2_mem_ops vb2_dma_sg_memops = {
	VB3_MEM_OPS,
	VB3_DEVICE_OPS,
};
EXPORT_SYMBOL_GPL(vb2_dma_sg_memops);
