/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory operations that a module exports.
 *
 * This file includes nothing, because exports.c includes it: any other visible definition would change the
 * CRCs of the exported symbols.
 */
#ifndef VB3_H
#define VB3_H

struct vb3_buf;

/* Memory operations. Those that differ by kind of memory are in ops.c, the others in memops.c. */
void *vb3_op_alloc(struct vb2_buffer *vb, struct device *dev, unsigned long size);
void vb3_op_put(void *priv);
void vb3_op_end(void *priv);
struct dma_buf *vb3_op_get_dmabuf(struct vb2_buffer *vb, void *priv, unsigned long flags);
void *vb3_op_get_userptr(struct vb2_buffer *vb, struct device *dev, unsigned long vaddr,
			 unsigned long size);
void vb3_op_prepare(void *priv);
void vb3_op_finish(void *priv);
void *vb3_op_attach_dmabuf(struct vb2_buffer *vb, struct device *dev, struct dma_buf *dbuf,
			   unsigned long size);
int vb3_op_map_dmabuf(void *priv);
void vb3_op_unmap_dmabuf(void *priv);
void *vb3_op_vaddr(struct vb2_buffer *vb, void *priv);
void *vb3_op_cookie(struct vb2_buffer *vb, void *priv);
unsigned int vb3_op_num_users(void *priv);
int vb3_op_mmap(void *priv, struct vm_area_struct *vma);

/* The operations of every module, and those that only modules with memory for devices have. */
#define VB3_MEM_OPS \
	.alloc = vb3_op_alloc, \
	.put = vb3_op_put, \
	.get_dmabuf = vb3_op_get_dmabuf, \
	.vaddr = vb3_op_vaddr, \
	.mmap = vb3_op_mmap, \
	.get_userptr = vb3_op_get_userptr, \
	.put_userptr = vb3_op_end, \
	.map_dmabuf = vb3_op_map_dmabuf, \
	.unmap_dmabuf = vb3_op_unmap_dmabuf, \
	.attach_dmabuf = vb3_op_attach_dmabuf, \
	.detach_dmabuf = vb3_op_end, \
	.num_users = vb3_op_num_users
#define VB3_DEVICE_OPS \
	.cookie = vb3_op_cookie, \
	.prepare = vb3_op_prepare, \
	.finish = vb3_op_finish

#endif
