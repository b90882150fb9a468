// SPDX-License-Identifier: GPL-2.0-only
/* Memory in one range of addresses for its device: coherent, or cached with a table. */
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "buffer.h"

void *vb3_alloc_coherent(struct device *dev, size_t bytes, unsigned int gfp, unsigned long attrs,
			 u64 *addr)
{
	dma_addr_t at = 0;
	void *cookie = NULL;

	if (!vb3_fails())
		cookie = dma_alloc_attrs(dev, bytes, &at, VB3_GFP | (__force gfp_t)gfp, attrs);
	*addr = at;
	return cookie;
}

/* Drops zone flags, for which the kernel's function warns and fails. The device's mask selects the zone anyway. */
struct sg_table *vb3_alloc_noncontiguous(struct device *dev, size_t bytes, int direction,
					 unsigned int gfp, unsigned long attrs)
{
	gfp_t flags = (VB3_GFP | __GFP_ZERO | (__force gfp_t)gfp) & ~VB3_ZONES;

	return vb3_fails() ? NULL : dma_alloc_noncontiguous(dev, bytes, direction, flags, attrs);
}

void vb3_memory_free(const struct vb3_memory *m)
{
	if (m->kind == VB3_COHERENT)
		dma_free_attrs(m->dev, m->bytes, m->at, m->addr, m->attrs);
	else
		dma_free_noncontiguous(m->dev, m->bytes, m->at, m->direction);
}

int vb3_memory_mmap(const struct vb3_memory *m, struct vm_area_struct *vma)
{
	if (m->kind == VB3_COHERENT)
		return dma_mmap_attrs(m->dev, vma, m->at, m->addr, m->bytes, m->attrs);
	return dma_mmap_noncontiguous(m->dev, vma, m->bytes, m->at);
}

void *vb3_memory_vmap(const struct vb3_memory *m)
{
	return vb3_fails() ? NULL : dma_vmap_noncontiguous(m->dev, m->bytes, m->at);
}

void vb3_memory_vunmap(const struct vb3_memory *m, void *vaddr)
{
	dma_vunmap_noncontiguous(m->dev, vaddr);
}

/* Returns whether all entries of a table have real pages. A page pointer alone may only be computed. */
static bool has_pages(struct sg_table *sgt)
{
	struct scatterlist *at;
	unsigned int i;

	for_each_sgtable_sg(sgt, at, i)
		if (!pfn_to_online_page(page_to_pfn(sg_page(at))))
			return false;
	return true;
}

/*
 * Converts a table with one entry and an invalid page into a table without pages, if the entry and the
 * device's address stand for the same physical address. Returns that address, or U64_MAX.
 */
static u64 without_pages(struct device *dev, struct sg_table *sgt, u64 addr, size_t bytes)
{
	u64 phys = sg_phys(sgt->sgl);

	if (sgt->orig_nents != 1 || bytes > UINT_MAX || phys != dma_to_phys(dev, addr))
		return U64_MAX;
	sg_set_page(sgt->sgl, NULL, bytes, 0);
	return phys;
}

/* If the memory has no pages, sets *phys to its physical address. Otherwise leaves *phys unchanged. */
struct sg_table *vb3_memory_table(const struct vb3_memory *m, u64 *phys)
{
	struct sg_table *sgt;

	if (m->kind == VB3_NON_COHERENT)
		return m->at;
	sgt = vb3_fails() ? NULL : kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		return NULL;
	if (dma_get_sgtable_attrs(m->dev, sgt, m->at, m->addr, m->bytes, m->attrs) < 0)
		goto free;
	if (has_pages(sgt))
		return sgt;
	*phys = without_pages(m->dev, sgt, m->addr, m->bytes);
	if (*phys != U64_MAX)
		return sgt;
	sg_free_table(sgt);
free:
	kfree(sgt);
	return NULL;
}
