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
	.alloc = vb3_op_alloc,
	.put = vb3_op_put,
	.get_dmabuf = vb3_op_get_dmabuf,
	.cookie = vb3_op_cookie,
	.vaddr = vb3_op_vaddr,
	.mmap = vb3_op_mmap,
	.get_userptr = vb3_op_get_userptr,
	.put_userptr = vb3_op_end,
	.prepare = vb3_op_prepare,
	.finish = vb3_op_finish,
	.map_dmabuf = vb3_op_map_dmabuf,
	.unmap_dmabuf = vb3_op_unmap_dmabuf,
	.attach_dmabuf = vb3_op_attach_dmabuf,
	.detach_dmabuf = vb3_op_end,
	.num_users = vb3_op_num_users,
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
