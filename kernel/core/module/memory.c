// SPDX-License-Identifier: GPL-2.0-only
/* What the Rust part calls: the allocator (struct vb2_mem_ops), dma-bufs. */
#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "core.h"

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif

static struct device *device_of(struct vb2_queue *q, u32 plane)
{
	return q->alloc_devs[plane] ? q->alloc_devs[plane] : q->dev;
}

/* What an allocator gave, in a plane and for the Rust part. */
static int placed(struct vb2_buffer *vb, u32 plane, void *private, int none,
		  struct vb3core_place *at)
{
	if (IS_ERR_OR_NULL(private))
		return private ? PTR_ERR(private) : none;
	vb->planes[plane].mem_priv = private;
	at->vb = vb;
	at->plane = plane;
	at->private = private;
	return 0;
}

int vb3core_c_mem_alloc(struct vb3core *core, u64 bytes, struct vb3core_place *at)
{
	struct vb2_queue *q = core->q;
	unsigned long size = PAGE_ALIGN(bytes);
	struct vb2_buffer *vb;
	u32 planes = 0, plane;
	int ret;

	if (size < bytes)
		return -EINVAL;
	while (planes < VB2_MAX_PLANES && core->sizes[planes])
		planes++;
	if (!core->fresh) {
		core->fresh = vb3core_new_buffer(q, planes, core->sizes);
		core->fresh_planes = core->fresh_live = 0;
	}
	vb = core->fresh;
	if (!vb)
		return -ENOMEM;
	plane = core->fresh_planes++;
	ret = placed(vb, plane, q->mem_ops->alloc(vb, device_of(q, plane), size), -ENOMEM, at);
	if (!ret) {
		core->fresh_live++;
	} else if (!core->fresh_live) {
		kfree(vb);
		core->fresh = NULL;
	}
	return ret;
}

/* The plane of the buffer that is being queued for which memory is asked. */
static int next_plane(struct vb3core *core, u64 userptr, void *dmabuf)
{
	u32 i;

	for (i = core->cursor; i < core->vb->num_planes; i++) {
		struct vb3core_plane *given = &core->given[i];

		if (!core->vb->planes[i].mem_priv && given->userptr == userptr &&
		    given->dmabuf == dmabuf) {
			core->cursor = i + 1;
			return i;
		}
	}
	return -EINVAL;
}

int vb3core_c_mem_userptr(struct vb3core *core, u64 addr, u64 bytes, struct vb3core_place *at)
{
	struct vb2_queue *q = core->q;
	int plane = next_plane(core, addr, NULL);

	if (plane < 0)
		return plane;
	core->vb->planes[plane].length = bytes;
	return placed(core->vb, plane,
		      q->mem_ops->get_userptr(core->vb, device_of(q, plane), addr, bytes), -EINVAL, at);
}

int vb3core_c_mem_attach(struct vb3core *core, struct dma_buf *dmabuf, u64 bytes,
			 struct vb3core_place *at)
{
	struct vb2_queue *q = core->q;
	int plane = next_plane(core, 0, dmabuf);

	if (plane < 0)
		return plane;
	core->vb->planes[plane].length = bytes;
	core->vb->planes[plane].dbuf = dmabuf;
	return placed(core->vb, plane,
		      q->mem_ops->attach_dmabuf(core->vb, device_of(q, plane), dmabuf, bytes), -EINVAL,
		      at);
}

/* A mapping that is there already goes to the plane that asks for the same dma-buf. */
int vb3core_c_mem_place(struct vb3core *core, struct dma_buf *dmabuf, struct vb3core_place *at)
{
	int plane = next_plane(core, 0, dmabuf);

	if (plane < 0)
		return plane;
	core->vb->planes[plane].length = core->pending[plane].length;
	core->vb->planes[plane].dbuf = dmabuf;
	core->vb->planes[plane].dbuf_mapped = 1;
	return placed(core->vb, plane, at->private, -EINVAL, at);
}

int vb3core_c_mem_map(struct vb3core *core, const struct vb3core_place *at)
{
	struct vb2_buffer *vb = at->vb;
	int ret = core->q->mem_ops->map_dmabuf(at->private);

	if (!ret)
		vb->planes[at->plane].dbuf_mapped = 1;
	return ret;
}

void vb3core_c_mem_unmap(struct vb3core *core, const struct vb3core_place *at)
{
	core->q->mem_ops->unmap_dmabuf(at->private);
}

/* The plane has the memory no more: nobody maps it from now on. */
void vb3core_c_mem_leave(struct vb3core *core, const struct vb3core_place *at)
{
	struct vb2_buffer *vb = at->vb;
	struct vb2_plane *plane = &vb->planes[at->plane];

	if (plane->mem_priv != at->private)
		return;
	mutex_lock(&core->q->mmap_lock);
	plane->mem_priv = NULL;
	plane->dbuf = NULL;
	plane->dbuf_mapped = 0;
	if (vb->memory != VB2_MEMORY_MMAP) {
		plane->length = plane->min_length;
		plane->bytesused = 0;
		plane->data_offset = 0;
		memset(&plane->m, 0, sizeof(plane->m));
	}
	mutex_unlock(&core->q->mmap_lock);
}

/* KIND: 0 allocated, 1 a program's, 2 a dma-buf, as in src/memory.rs. */
void vb3core_c_mem_put(struct vb3core *core, const struct vb3core_place *at, int kind)
{
	const struct vb2_mem_ops *ops = core->q->mem_ops;

	vb3core_c_mem_leave(core, at);
	if (kind == 0)
		ops->put(at->private);
	else if (kind == 1)
		ops->put_userptr(at->private);
	else
		ops->detach_dmabuf(at->private);
	if (at->vb == core->fresh && !--core->fresh_live) {
		kfree(core->fresh);
		core->fresh = NULL;
	}
}

void vb3core_c_mem_sync(struct vb3core *core, const struct vb3core_place *at, bool for_device)
{
	const struct vb2_mem_ops *ops = core->q->mem_ops;

	if (for_device && ops->prepare)
		ops->prepare(at->private);
	else if (!for_device && ops->finish)
		ops->finish(at->private);
}

int vb3core_c_mem_copy(struct vb3core *core, const struct vb3core_place *at, u64 offset, void *bytes,
		       u64 len, bool to_plane)
{
	void *from = core->q->mem_ops->vaddr ? core->q->mem_ops->vaddr(at->vb, at->private) : NULL;

	if (!from)
		return -EBUSY;
	if (to_plane)
		memcpy(from + offset, bytes, len);
	else
		memcpy(bytes, from + offset, len);
	return 0;
}

int vb3core_c_export(struct vb3core *core, const struct vb3core_place *at, unsigned long access,
		     struct dma_buf **dmabuf)
{
	const struct vb2_mem_ops *ops = core->q->mem_ops;

	*dmabuf = ops->get_dmabuf ? ops->get_dmabuf(at->vb, at->private, access) : NULL;
	return IS_ERR_OR_NULL(*dmabuf) ? -EINVAL : 0;
}

u64 vb3core_c_dmabuf_len(struct dma_buf *dmabuf)
{
	return dmabuf->size;
}

void vb3core_c_dmabuf_get(struct dma_buf *dmabuf)
{
	get_dma_buf(dmabuf);
}

void vb3core_c_dmabuf_put(struct dma_buf *dmabuf)
{
	dma_buf_put(dmabuf);
}
