// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exported symbol of videobuf2-dma-sg.
 *
 * The list of includes is that of the kernel's own file, and must stay so: with MODVERSIONS the
 * CRC of an exported symbol covers every definition in sight of its type.
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
	.alloc = vb3_op_alloc,
	.put = vb3_op_put,
	.get_dmabuf = vb3_op_get_dmabuf,
	.cookie = vb3_op_cookie,
	.vaddr = vb3_op_vaddr,
	.prepare = vb3_op_prepare,
	.finish = vb3_op_finish,
	.mmap = vb3_op_mmap,
	.get_userptr = vb3_op_get_userptr,
	.put_userptr = vb3_op_put_userptr,
	.map_dmabuf = vb3_op_map_dmabuf,
	.unmap_dmabuf = vb3_op_unmap_dmabuf,
	.attach_dmabuf = vb3_op_attach_dmabuf,
	.detach_dmabuf = vb3_op_detach_dmabuf,
	.num_users = vb3_op_num_users,
};
EXPORT_SYMBOL_GPL(vb2_dma_sg_memops);
