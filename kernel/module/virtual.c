// SPDX-License-Identifier: GPL-2.0-only
/* Memory that only the CPU uses: from vmalloc, or pinned memory of a program. Sizes are whole pages. */
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <media/frame_vector.h>

#include "buffer.h"

/* Allocates memory that is zeroed, and that programs may map. */
void *vb3_virtual_alloc(size_t bytes)
{
	return vb3_fails() ? NULL : vmalloc_user(bytes);
}

struct sg_table *vb3_virtual_table(const struct vb3_memory *m)
{
	unsigned int i, count = m->bytes >> PAGE_SHIFT;
	struct sg_table *sgt = NULL;
	struct page **pages = NULL;

	if (!vb3_fails())
		pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;
	for (i = 0; i < count; i++)
		pages[i] = vmalloc_to_page(m->at + ((size_t)i << PAGE_SHIFT));
	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	/* Each entry has one page. A device may accept only short ones, and above 256 KiB none can bounce. */
	if (sgt && sg_alloc_table_from_pages_segment(sgt, pages, count, 0, m->bytes, PAGE_SIZE,
						     GFP_KERNEL)) {
		kfree(sgt);
		sgt = NULL;
	}
	kvfree(pages);
	return sgt;
}

/* Maps a program's memory for the kernel. Returns the address of its first byte. */
void *vb3_pinned_map(struct frame_vector *pinned, struct sg_table *sgt)
{
	void *at = NULL;

	if (!vb3_fails())
		at = vm_map_ram(frame_vector_pages(pinned), frame_vector_count(pinned), -1);
	return at ? at + sgt->sgl->offset : NULL;
}

void vb3_pinned_unmap(struct frame_vector *pinned, void *at)
{
	vm_unmap_ram((void *)((unsigned long)at & PAGE_MASK), frame_vector_count(pinned));
}
