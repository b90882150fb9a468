// SPDX-License-Identifier: GPL-2.0-only
/* What the Rust part calls: the driver (struct vb2_ops), the lock, the log. */
#include <linux/bug.h>
#include <linux/dma-buf.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "core.h"

void __noreturn vb3core_c_bug(void)
{
	BUG();
}

void *vb3core_c_alloc(size_t bytes)
{
	return kmalloc(bytes, GFP_KERNEL);
}

void vb3core_c_free(void *at)
{
	kfree(at);
}

unsigned long vb3core_c_lock(struct vb3core *core)
{
	unsigned long flags;

	spin_lock_irqsave(&core->q->done_lock, flags);
	return flags;
}

void vb3core_c_unlock(struct vb3core *core, unsigned long flags)
{
	spin_unlock_irqrestore(&core->q->done_lock, flags);
}

void vb3core_c_refused(struct vb3core *core, int error, const char *text, int len)
{
	pr_info_ratelimited("videobuf2-common: %s: refused (errno %d): %.*s\n", core->q->name, error,
			    len, text);
}

/* Asked first for planes and their sizes; how many buffers it makes of it is told when asked. */
int vb3core_c_queue_setup(struct vb3core *core, bool create, u32 *sizes, u32 *count)
{
	struct vb2_queue *q = core->q;
	unsigned int buffers = core->wanted, planes = create ? *count : 0, i;
	int ret;

	if (!vb2_get_num_buffers(q))
		memset(q->alloc_devs, 0, sizeof(q->alloc_devs));
	ret = q->ops->queue_setup(q, &buffers, &planes, sizes, q->alloc_devs);
	if (ret)
		return ret;
	if (WARN_ON(!planes || planes > VB2_MAX_PLANES))
		return -EINVAL;
	for (i = 0; i < VB2_MAX_PLANES; i++)
		core->sizes[i] = i < planes ? sizes[i] : 0;
	core->create_planes = create ? planes : 0;
	core->counted = buffers;
	*count = planes;
	return 0;
}

int vb3core_c_buffer_count(struct vb3core *core, u32 offered, u32 *count)
{
	struct vb2_queue *q = core->q;
	unsigned int buffers = offered, planes = core->create_planes, sizes[VB2_MAX_PLANES];
	int ret;

	if (core->counted) {
		*count = core->counted;
		core->counted = 0;
		return 0;
	}
	memcpy(sizes, core->sizes, sizeof(sizes));
	ret = q->ops->queue_setup(q, &buffers, &planes, sizes, q->alloc_devs);
	*count = buffers;
	return ret;
}

static struct vb2_buffer *buffer(struct vb3core *core, u32 index)
{
	return vb2_get_buffer(core->q, index);
}

/* What a program says of its planes, where drivers look for it. */
static void take_pending(struct vb3core *core, struct vb2_buffer *vb)
{
	u32 i;

	for (i = 0; i < vb->num_planes; i++) {
		struct vb2_plane *to = &vb->planes[i], *from = &core->pending[i];

		to->m = from->m;
		to->bytesused = from->bytesused;
		to->data_offset = from->data_offset;
	}
}

int vb3core_c_buf_init(struct vb3core *core, u32 index)
{
	struct vb2_buffer *vb = core->fresh;
	int ret;

	if (!vb) {
		vb = buffer(core, index);
		take_pending(core, vb);
		return vb->vb2_queue->ops->buf_init ? vb->vb2_queue->ops->buf_init(vb) : 0;
	}
	ret = vb3core_adopt(core->q, vb, index);
	if (!ret)
		core->fresh = NULL;
	return ret;
}

int vb3core_c_buf_prepare(struct vb3core *core, u32 index, u64 payload)
{
	struct vb2_queue *q = core->q;
	struct vb2_buffer *vb = buffer(core, index);
	int ret = 0;

	if (!core->vb)
		/* read() and write() */
		vb->planes[0].bytesused = q->is_output ? payload : 0;
	else if (vb->memory != VB2_MEMORY_MMAP)
		take_pending(core, vb);
	else if (core->pb)
		ret = q->buf_ops->fill_vb2_buffer(vb, vb->planes);
	if (!ret && q->ops->buf_prepare)
		ret = q->ops->buf_prepare(vb);
	if (ret)
		return ret;
	vb->prepared = 1;
	vb->synced = 1;
	if (core->vb && core->pb && !core->is_prepare && q->buf_ops->copy_timestamp)
		q->buf_ops->copy_timestamp(vb, core->pb);
	return 0;
}

void vb3core_c_buf_finish(struct vb3core *core, u32 index)
{
	struct vb2_buffer *vb = buffer(core, index);

	vb->prepared = 0;
	vb->synced = 0;
	if (core->q->ops->buf_finish)
		core->q->ops->buf_finish(vb);
}

void vb3core_c_buf_cleanup(struct vb3core *core, u32 index)
{
	struct vb2_buffer *vb = buffer(core, index);

	if (core->q->ops->buf_cleanup)
		core->q->ops->buf_cleanup(vb);
}

void vb3core_c_buf_queue(struct vb3core *core, u32 index)
{
	struct vb2_buffer *vb = buffer(core, index);

	vb->state = VB2_BUF_STATE_ACTIVE;
	atomic_inc(&core->q->owned_by_drv_count);
	/* The program is told of a queued buffer, also where the device has finished before the call. */
	if (vb == core->vb && core->pb && !core->is_filled) {
		core->q->buf_ops->fill_user_buffer(vb, core->pb);
		core->is_filled = true;
	}
	core->q->ops->buf_queue(vb);
}

int vb3core_c_prepare_streaming(struct vb3core *core)
{
	struct vb2_queue *q = core->q;

	return q->ops->prepare_streaming ? q->ops->prepare_streaming(q) : 0;
}

void vb3core_c_unprepare_streaming(struct vb3core *core)
{
	if (core->q->ops->unprepare_streaming)
		core->q->ops->unprepare_streaming(core->q);
}

int vb3core_c_start_streaming(struct vb3core *core, u32 queued)
{
	struct vb2_queue *q = core->q;
	int ret;

	q->start_streaming_called = 1;
	ret = q->ops->start_streaming ? q->ops->start_streaming(q, queued) : 0;
	if (ret)
		q->start_streaming_called = 0;
	return ret;
}

void vb3core_c_stop_streaming(struct vb3core *core)
{
	if (core->q->ops->stop_streaming)
		core->q->ops->stop_streaming(core->q);
	core->q->start_streaming_called = 0;
}

int vb3core_c_copy_user(void *user, u64 offset, void *bytes, u64 len, bool to_user)
{
	void __user *at = (void __user *)user + offset;
	unsigned long left = to_user ? copy_to_user(at, bytes, len) : copy_from_user(bytes, at, len);

	return left ? -EFAULT : 0;
}
