/* SPDX-License-Identifier: GPL-2.0-only */
/* For dma-contig. The cookie points at the device's address of the memory. */
#define VB3_NEEDS_DEVICE true
#define VB3_COOKIE(buf) (&(buf)->dma_addr)

static inline int kind_alloc(struct vb3_buf *buf, struct device *dev, unsigned long size,
			     struct vb2_queue *q, u64 *addr)
{
	return vb3_rs_alloc(RUST(buf), dev, size, q->dma_dir, (__force unsigned int)q->gfp_flags,
			    q->dma_attrs, q->non_coherent_mem, addr);
}

static inline int kind_get_userptr(struct vb3_buf *buf, struct device *dev, unsigned long vaddr,
				   unsigned long size, int direction, u64 *addr)
{
	return vb3_rs_get_userptr(RUST(buf), dev, vaddr, size, direction, addr);
}

static inline int kind_import(struct vb3_buf *buf, struct device *dev, struct dma_buf *dbuf,
			      unsigned long size, int direction)
{
	return vb3_rs_import(RUST(buf), dev, dbuf, size, direction, false);
}

static inline int kind_map(struct vb3_buf *buf)
{
	u64 addr = buf->dma_addr;
	int ret = vb3_rs_import_map(RUST(buf), &addr);

	buf->dma_addr = addr;
	return ret;
}
