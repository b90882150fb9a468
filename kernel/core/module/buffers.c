// SPDX-License-Identifier: GPL-2.0-only
/*
 * struct vb2_buffer: drivers put theirs around it, and find it by q->bufs, so that it is made, found
 * and freed here.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "core.h"

/* Of an offset for mmap: page, then plane, then buffer. */
#define PLANE_BITS 3

struct vb2_buffer *vb3core_new_buffer(struct vb2_queue *q, u32 planes, const u32 *sizes)
{
	struct vb2_buffer *vb = kzalloc(q->buf_struct_size, GFP_KERNEL);
	u32 i;

	if (!vb)
		return NULL;
	vb->vb2_queue = q;
	vb->type = q->type;
	vb->memory = q->memory;
	vb->num_planes = planes;
	vb->state = VB2_BUF_STATE_DEQUEUED;
	INIT_LIST_HEAD(&vb->queued_entry);
	INIT_LIST_HEAD(&vb->done_entry);
	for (i = 0; i < planes; i++) {
		vb->planes[i].length = sizes[i];
		vb->planes[i].min_length = sizes[i];
	}
	/* Exporters see to caches; and nothing is to be seen that a device only reads. */
	if (q->memory == VB2_MEMORY_DMABUF)
		vb->skip_cache_sync_on_prepare = 1;
	if (q->memory == VB2_MEMORY_DMABUF || q->dma_dir == DMA_TO_DEVICE)
		vb->skip_cache_sync_on_finish = 1;
	return vb;
}

/* Puts a buffer where drivers and the V4L2 part look for it. */
int vb3core_adopt(struct vb2_queue *q, struct vb2_buffer *vb, u32 index)
{
	u32 i;

	vb->index = index;
	if (vb->memory == VB2_MEMORY_MMAP)
		for (i = 0; i < vb->num_planes; i++)
			vb->planes[i].m.offset = ((index << PLANE_BITS) | i) << PAGE_SHIFT;
	if (q->buf_ops && q->buf_ops->init_buffer)
		q->buf_ops->init_buffer(vb);
	if (q->ops->buf_init && vb->memory == VB2_MEMORY_MMAP) {
		int ret = q->ops->buf_init(vb);

		if (ret)
			return ret;
	}
	mutex_lock(&q->mmap_lock);
	q->bufs[index] = vb;
	set_bit(index, q->bufs_bitmap);
	mutex_unlock(&q->mmap_lock);
	return 0;
}

void vb3core_forget(struct vb2_queue *q, struct vb2_buffer *vb)
{
	mutex_lock(&q->mmap_lock);
	clear_bit(vb->index, q->bufs_bitmap);
	q->bufs[vb->index] = NULL;
	mutex_unlock(&q->mmap_lock);
	kfree(vb);
}
