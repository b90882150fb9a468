// SPDX-License-Identifier: GPL-2.0-only
/* Cached memory in the largest available pieces, mapped for its device. */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "buffer.h"

struct pages {
	struct sg_table sgt;
	unsigned int count;
	struct page *page[];
};

static struct pages *pages_of(struct sg_table *sgt)
{
	return container_of(sgt, struct pages, sgt);
}

static void free_pages_of(struct pages *pages)
{
	unsigned int i;

	for (i = 0; i < pages->count; i++)
		__free_page(pages->page[i]);
	kvfree(pages);
}

/* Allocates a piece of at most `most` pages. A single page is the fallback. */
static struct page *piece_of(unsigned int most, gfp_t gfp, unsigned int *order)
{
	struct page *page;

	for (*order = min_t(unsigned int, ilog2(most), MAX_PAGE_ORDER); *order; --*order) {
		page = alloc_pages((gfp & ~__GFP_RETRY_MAYFAIL) | __GFP_NORETRY, *order);
		if (page)
			return page;
	}
	return alloc_pages(gfp, 0);
}

static bool fill(struct pages *pages, unsigned int count, gfp_t gfp)
{
	while (pages->count < count) {
		unsigned int order, i;
		struct page *page = piece_of(count - pages->count, gfp, &order);

		if (!page)
			return false;
		split_page(page, order);
		for (i = 0; i < 1u << order; i++)
			pages->page[pages->count++] = page + i;
	}
	return true;
}

/*
 * Returns NULL if there is no memory, and -EIO if it cannot be mapped. The mapping skips cache
 * maintenance, because each hand-over does it.
 */
struct sg_table *vb3_alloc_noncontiguous(struct device *dev, size_t bytes, int direction,
					 unsigned int gfp, unsigned long attrs)
{
	gfp_t flags = (VB3_GFP | __GFP_ZERO | (__force gfp_t)gfp) & ~__GFP_COMP;
	unsigned int count = bytes >> PAGE_SHIFT;
	struct pages *pages = NULL;
	int error = 0;

	if (!vb3_fails())
		pages = kvmalloc(struct_size(pages, page, count), GFP_KERNEL | __GFP_NOWARN);
	if (!pages)
		return NULL;
	pages->count = 0;
	if (vb3_fails() || !fill(pages, count, flags) ||
	    sg_alloc_table_from_pages(&pages->sgt, pages->page, count, 0, bytes, GFP_KERNEL))
		goto free;
	if (!vb3_fails() &&
	    !dma_map_sgtable(dev, &pages->sgt, direction, DMA_ATTR_SKIP_CPU_SYNC))
		return &pages->sgt;
	error = -EIO;
	sg_free_table(&pages->sgt);
free:
	free_pages_of(pages);
	return ERR_PTR(error);
}

void vb3_memory_free(const struct vb3_memory *m)
{
	dma_unmap_sgtable(m->dev, m->at, m->direction, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(m->at);
	free_pages_of(pages_of(m->at));
}

/* The VMA's offset is the number of the first page to map. */
int vb3_memory_mmap(const struct vb3_memory *m, struct vm_area_struct *vma)
{
	struct pages *pages = pages_of(m->at);

	return vm_map_pages(vma, pages->page, pages->count);
}

void *vb3_memory_vmap(const struct vb3_memory *m)
{
	struct pages *pages = pages_of(m->at);

	return vb3_fails() ? NULL : vmap(pages->page, pages->count, VM_MAP, PAGE_KERNEL);
}

void vb3_memory_vunmap(const struct vb3_memory *m, void *vaddr)
{
	vunmap(vaddr);
}

struct sg_table *vb3_memory_table(const struct vb3_memory *m, u64 *phys)
{
	return m->at;
}
