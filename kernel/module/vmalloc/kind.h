/* SPDX-License-Identifier: GPL-2.0-only */
/* For vmalloc. There may be no device, and there is no cookie: only the CPU uses the memory. */
#define VB3_NEEDS_DEVICE false

static inline int kind_alloc(struct vb3_buf *buf, struct device *dev, unsigned long size,
			     struct vb2_queue *q, u64 *addr)
{
	return vb3_rs_alloc_virtual(RUST(buf), dev, size, q->dma_dir);
}

static inline int kind_get_userptr(struct vb3_buf *buf, struct device *dev, unsigned long vaddr,
				   unsigned long size, int direction, u64 *addr)
{
	return vb3_rs_get_userptr_virtual(RUST(buf), dev, vaddr, size, direction);
}

static inline int kind_import(struct vb3_buf *buf, struct device *dev, struct dma_buf *dbuf,
			      unsigned long size, int direction)
{
	return vb3_rs_import_virtual(RUST(buf), dev, dbuf, size, direction);
}

static inline int kind_map(struct vb3_buf *buf)
{
	u64 none = 0;

	return vb3_rs_import_map(RUST(buf), &none);
}
