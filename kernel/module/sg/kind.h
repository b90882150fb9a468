/* SPDX-License-Identifier: GPL-2.0-only */
/* For dma-sg. The cookie is the table that is mapped for the device. */
#define VB3_NEEDS_DEVICE true
#define VB3_COOKIE(buf) ((buf)->sgt)

static inline int kind_alloc(struct vb3_buf *buf, struct device *dev, unsigned long size,
			     struct vb2_queue *q, u64 *addr)
{
	return vb3_rs_alloc_sg(RUST(buf), dev, size, q->dma_dir,
			       (__force unsigned int)q->gfp_flags, &buf->sgt);
}

static inline int kind_get_userptr(struct vb3_buf *buf, struct device *dev, unsigned long vaddr,
				   unsigned long size, int direction, u64 *addr)
{
	return vb3_rs_get_userptr_sg(RUST(buf), dev, vaddr, size, direction, &buf->sgt);
}

static inline int kind_import(struct vb3_buf *buf, struct device *dev, struct dma_buf *dbuf,
			      unsigned long size, int direction)
{
	return vb3_rs_import(RUST(buf), dev, dbuf, size, direction, true);
}

static inline int kind_map(struct vb3_buf *buf)
{
	return vb3_rs_import_map_sg(RUST(buf), &buf->sgt);
}
