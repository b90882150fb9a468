// SPDX-License-Identifier: GPL-2.0-only
/* Memory that only the CPU uses, from vmalloc. Sizes are whole pages. */
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "buffer.h"

/* Allocates memory that is zeroed, and that programs may map. */
void *vb3_virtual_alloc(size_t bytes)
{
	return vb3_fails() ? NULL : vmalloc_user(bytes);
}

void vb3_memory_free(const struct vb3_memory *m)
{
	vfree(m->at);
}

int vb3_memory_mmap(const struct vb3_memory *m, struct vm_area_struct *vma)
{
	return remap_vmalloc_range(vma, m->at, vma->vm_pgoff);
}

void *vb3_memory_vmap(const struct vb3_memory *m)
{
	return m->at;
}

void vb3_memory_vunmap(const struct vb3_memory *m, void *vaddr)
{
}

struct sg_table *vb3_memory_table(const struct vb3_memory *m, u64 *phys)
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
