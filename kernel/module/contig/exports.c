// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exported symbols of videobuf2-dma-contig.
 *
 * The includes must be those of the kernel's own file: with MODVERSIONS, the CRC of an exported symbol
 * covers every visible definition of the types that it uses.
 */
#include <linux/dma-buf.h>
#include <linux/module.h>
#include <linux/refcount.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>

#include <media/videobuf2-v4l2.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-memops.h>

#include "vb3.h"

const struct vb2_mem_ops vb2_dma_contig_memops = {
	VB3_MEM_OPS,
	VB3_DEVICE_OPS,
};
EXPORT_SYMBOL_GPL(vb2_dma_contig_memops);

/* Raises the longest segment that the DMA layer may build for a device. Never lowers it. */
int vb2_dma_contig_set_max_seg_size(struct device *dev, unsigned int size)
{
	if (!dev->dma_parms) {
		dev_err(dev, "no dma_parms to keep a max_seg_size in\n");
		return -ENODEV;
	}
	if (dma_get_max_seg_size(dev) < size)
		dma_set_max_seg_size(dev, size);
	return 0;
}
EXPORT_SYMBOL_GPL(vb2_dma_contig_set_max_seg_size);
