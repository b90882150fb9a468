/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory operations that the module exports.
 *
 * This file includes nothing, because exports.c includes it: any other visible definition would change the
 * CRCs of the exported symbols.
 */
#ifndef VB3_H
#define VB3_H

struct vb3_buf;

/* Those that make a buffer are in ops.c, those of a hand-over in handover.c, the others in memops.c. */
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

#endif
