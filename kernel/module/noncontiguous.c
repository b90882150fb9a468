// SPDX-License-Identifier: GPL-2.0-only
/* Cached memory in one range of addresses for its device. dma-sg uses sg/pages.c instead. */
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/scatterlist.h>

#include "buffer.h"

/* For zone flags, the kernel's function warns and fails. The device's mask has the same effect as they. */
struct sg_table *vb3_alloc_noncontiguous(struct device *dev, size_t bytes, int direction,
					 unsigned int gfp, unsigned long attrs)
{
	gfp_t flags = (VB3_GFP | __GFP_ZERO | (__force gfp_t)gfp) & ~VB3_ZONES;

	return vb3_fails() ? NULL : dma_alloc_noncontiguous(dev, bytes, direction, flags, attrs);
}

void vb3_free_noncontiguous(const struct vb3_memory *m)
{
	dma_free_noncontiguous(m->dev, m->bytes, m->at, m->direction);
}

int vb3_mmap_noncontiguous(const struct vb3_memory *m, struct vm_area_struct *vma)
{
	return dma_mmap_noncontiguous(m->dev, vma, m->bytes, m->at);
}

void *vb3_vmap_noncontiguous(const struct vb3_memory *m)
{
	return vb3_fails() ? NULL : dma_vmap_noncontiguous(m->dev, m->bytes, m->at);
}

void vb3_vunmap_noncontiguous(struct device *dev, void *vaddr)
{
	dma_vunmap_noncontiguous(dev, vaddr);
}
