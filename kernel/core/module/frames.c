// SPDX-License-Identifier: GPL-2.0-only
/* Pages of a program's memory, which allocators ask videobuf2-common for. */
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <media/frame_vector.h>

struct frame_vector *frame_vector_create(unsigned int nr_frames)
{
	struct frame_vector *vec;

	if (!nr_frames || nr_frames > INT_MAX / sizeof(void *) / 2)
		return NULL;
	vec = kvmalloc(struct_size(vec, ptrs, nr_frames), GFP_KERNEL);
	if (!vec)
		return NULL;
	vec->nr_allocated = nr_frames;
	vec->nr_frames = 0;
	vec->got_ref = false;
	vec->is_pfns = false;
	return vec;
}
EXPORT_SYMBOL(frame_vector_create);

void frame_vector_destroy(struct frame_vector *vec)
{
	WARN_ON(vec->nr_frames);
	kvfree(vec);
}
EXPORT_SYMBOL(frame_vector_destroy);

int get_vaddr_frames(unsigned long start, unsigned int nr_frames, bool write,
		     struct frame_vector *vec)
{
	int got;

	nr_frames = min(nr_frames, vec->nr_allocated);
	if (!nr_frames)
		return 0;
	got = pin_user_pages_fast(untagged_addr(start), nr_frames,
				  FOLL_LONGTERM | (write ? FOLL_WRITE : 0),
				  (struct page **)vec->ptrs);
	vec->got_ref = got > 0;
	vec->is_pfns = false;
	vec->nr_frames = max(got, 0);
	return got ? got : -EFAULT;
}
EXPORT_SYMBOL(get_vaddr_frames);

int frame_vector_to_pages(struct frame_vector *vec)
{
	unsigned int i;

	if (!vec->is_pfns)
		return 0;
	for (i = 0; i < vec->nr_frames; i++)
		if (!pfn_valid((unsigned long)vec->ptrs[i]))
			return -EINVAL;
	for (i = 0; i < vec->nr_frames; i++)
		vec->ptrs[i] = pfn_to_page((unsigned long)vec->ptrs[i]);
	vec->is_pfns = false;
	return 0;
}
EXPORT_SYMBOL(frame_vector_to_pages);

void frame_vector_to_pfns(struct frame_vector *vec)
{
	unsigned int i;

	for (i = 0; !vec->is_pfns && i < vec->nr_frames; i++)
		vec->ptrs[i] = (void *)page_to_pfn((struct page *)vec->ptrs[i]);
	vec->is_pfns = true;
}
EXPORT_SYMBOL(frame_vector_to_pfns);

void put_vaddr_frames(struct frame_vector *vec)
{
	if (vec->got_ref && !frame_vector_to_pages(vec))
		unpin_user_pages((struct page **)vec->ptrs, vec->nr_frames);
	vec->got_ref = false;
	vec->nr_frames = 0;
}
EXPORT_SYMBOL(put_vaddr_frames);
