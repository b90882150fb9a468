// SPDX-License-Identifier: GPL-2.0-only
/*
 * A trial: what videobuf2-common exports, by the Rust part. What drivers, the V4L2 part and inline
 * functions read in struct vb2_queue and struct vb2_buffer is written here after each call.
 *
 * Left out: media requests, vb2_thread, and mem2mem's mmap offsets.
 */
#include <linux/bitmap.h>
#include <linux/dma-buf.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/videodev2.h>

#include <trace/events/vb2.h>

#include "core.h"

static bool keep_mappings;
module_param(keep_mappings, bool, 0644);
MODULE_PARM_DESC(keep_mappings, "keep mappings of dma-bufs by what they map; for queues made from now on");
static bool say_reasons;
module_param(say_reasons, bool, 0644);
MODULE_PARM_DESC(say_reasons, "say in the log why calls are refused; for queues made from now on");

static void *rust_of(struct vb2_queue *q)
{
	struct vb3core *core = vb3core_of(q);

	return core ? core->rust : NULL;
}

/* Nothing tells of a queue's end but its release, after which it may be used again. */
static int begin(struct vb2_queue *q)
{
	struct vb3core_config config = {
		.is_output = q->is_output,
		.bidirectional = q->bidirectional,
		.mmap = q->io_modes & VB2_MMAP,
		.userptr = (q->io_modes & VB2_USERPTR) && q->mem_ops->get_userptr,
		.dmabuf = (q->io_modes & VB2_DMABUF) && q->mem_ops->attach_dmabuf,
		.read = q->io_modes & VB2_READ,
		.write = q->io_modes & VB2_WRITE,
		.cache_hints = q->allow_cache_hints,
		.copy_timestamp = q->copy_timestamp,
		/* The V4L2 part has looked at it. */
		.allow_zero_bytesused = true,
		.poll_quirk = q->quirk_poll_must_check_waiting_for_buffers,
		.read_once = q->fileio_read_once,
		.write_immediately = q->fileio_write_immediately,
		.keep_mappings = keep_mappings,
		.say_reasons = say_reasons,
		.max_num_buffers = q->max_num_buffers,
		.min_queued_buffers = q->min_queued_buffers,
		.min_reqbufs_allocation = q->min_reqbufs_allocation,
		.page_shift = PAGE_SHIFT,
	};
	struct vb3core *core;

	if (vb3core_of(q))
		return 0;
	core = kzalloc(sizeof(*core), GFP_KERNEL);
	if (!core)
		return -ENOMEM;
	core->q = q;
	q->bufs = kcalloc(q->max_num_buffers, sizeof(*q->bufs), GFP_KERNEL);
	q->bufs_bitmap = bitmap_zalloc(q->max_num_buffers, GFP_KERNEL);
	core->rust = vb3core_new(core, &config);
	if (!q->bufs || !q->bufs_bitmap || !core->rust) {
		if (core->rust)
			vb3core_free(core->rust);
		kfree(q->bufs);
		bitmap_free(q->bufs_bitmap);
		q->bufs = NULL;
		q->bufs_bitmap = NULL;
		kfree(core);
		return -ENOMEM;
	}
	q->threadio = (struct vb2_threadio_data *)core;
	return 0;
}

/* Writes what others read of the queue. */
static void show_queue(struct vb2_queue *q)
{
	struct vb3core_facts facts;

	vb3core_facts(rust_of(q), &facts);
	q->streaming = facts.streaming;
	q->queued_count = facts.queued_count;
	q->memory = facts.memory;
	q->is_busy = facts.busy;
	q->fileio = facts.fileio ? (struct vb2_fileio_data *)vb3core_of(q) : NULL;
}

/* Of all buffers: drops those that are gone, makes those that are new, says who has each. */
static int show_all(struct vb2_queue *q)
{
	struct vb3core *core = vb3core_of(q);
	u32 index, planes = 0;

	show_queue(q);
	while (planes < VB2_MAX_PLANES && core->sizes[planes])
		planes++;
	for (index = 0; index < q->max_num_buffers; index++) {
		struct vb2_buffer *vb = vb2_get_buffer(q, index);
		int known = vb3core_buffer(core->rust, index);
		unsigned long flags;

		if (known < 0 && vb) {
			if (!list_empty(&vb->queued_entry))
				list_del_init(&vb->queued_entry);
			vb3core_forget(q, vb);
			continue;
		}
		if (known < 0)
			continue;
		if (!vb) {
			vb = vb3core_new_buffer(q, planes, core->sizes);
			if (!vb || vb3core_adopt(q, vb, index)) {
				kfree(vb);
				return -ENOMEM;
			}
		}
		spin_lock_irqsave(&q->done_lock, flags);
		vb->state = known & 0xff;
		vb->prepared = vb->synced = known >> 8;
		if (vb->state != VB2_BUF_STATE_DONE && vb->state != VB2_BUF_STATE_ERROR)
			list_del_init(&vb->done_entry);
		spin_unlock_irqrestore(&q->done_lock, flags);
		if (vb->state == VB2_BUF_STATE_DEQUEUED)
			list_del_init(&vb->queued_entry);
		else if (list_empty(&vb->queued_entry))
			list_add_tail(&vb->queued_entry, &q->queued_list);
	}
	return 0;
}

int vb2_verify_memory_type(struct vb2_queue *q, enum vb2_memory memory, unsigned int type)
{
	const struct vb2_mem_ops *ops = q->mem_ops;
	bool can;

	if (type != q->type)
		return -EINVAL;
	switch (memory) {
	case VB2_MEMORY_MMAP:
		can = (q->io_modes & VB2_MMAP) && ops->alloc && ops->put && ops->mmap;
		break;
	case VB2_MEMORY_USERPTR:
		can = (q->io_modes & VB2_USERPTR) && ops->get_userptr && ops->put_userptr;
		break;
	case VB2_MEMORY_DMABUF:
		can = (q->io_modes & VB2_DMABUF) && ops->attach_dmabuf && ops->detach_dmabuf &&
		      ops->map_dmabuf && ops->unmap_dmabuf;
		break;
	default:
		can = false;
	}
	if (!can)
		return -EINVAL;
	return vb2_fileio_is_active(q) ? -EBUSY : 0;
}
EXPORT_SYMBOL(vb2_verify_memory_type);

/* Allocators look at these while they allocate. */
static void set_memory(struct vb2_queue *q, enum vb2_memory memory, bool non_coherent)
{
	q->memory = memory;
	q->non_coherent_mem = non_coherent && vb2_queue_allows_cache_hints(q);
}

int vb2_core_reqbufs(struct vb2_queue *q, enum vb2_memory memory, unsigned int flags,
		     unsigned int *count)
{
	bool non_coherent = flags & V4L2_MEMORY_FLAG_NON_COHERENT;
	struct vb3core *core;
	int ret;

	if (q->streaming)
		return -EBUSY;
	ret = begin(q);
	if (ret)
		return ret;
	core = vb3core_of(q);
	if (*count && !q->waiting_in_dqbuf) {
		/* What the old buffers are is asked until they are gone. */
		u32 none = 0;

		if (vb2_get_num_buffers(q)) {
			vb3core_reqbufs(core->rust, q->memory, q->non_coherent_mem, &none);
			show_all(q);
		}
		set_memory(q, memory, non_coherent);
	}
	core->wanted = clamp(*count, q->min_reqbufs_allocation, q->max_num_buffers);
	core->counted = 0;
	ret = vb3core_reqbufs(core->rust, memory, q->non_coherent_mem, count);
	return show_all(q) ?: ret;
}
EXPORT_SYMBOL_GPL(vb2_core_reqbufs);

int vb2_core_create_bufs(struct vb2_queue *q, enum vb2_memory memory, unsigned int flags,
			 unsigned int *count, unsigned int requested_planes,
			 const unsigned int requested_sizes[], unsigned int *first_index)
{
	bool non_coherent = flags & V4L2_MEMORY_FLAG_NON_COHERENT;
	struct vb3core *core;
	int ret = begin(q);

	if (ret)
		return ret;
	core = vb3core_of(q);
	if (!vb2_get_num_buffers(q) && !q->waiting_in_dqbuf && !q->streaming)
		set_memory(q, memory, non_coherent);
	core->wanted = min(*count, q->max_num_buffers - vb2_get_num_buffers(q));
	core->counted = 0;
	ret = vb3core_create_bufs(core->rust, memory, non_coherent && vb2_queue_allows_cache_hints(q),
				  requested_sizes, requested_planes, count, first_index);
	return show_all(q) ?: ret;
}
EXPORT_SYMBOL_GPL(vb2_core_create_bufs);

int vb2_core_remove_bufs(struct vb2_queue *q, unsigned int start, unsigned int count)
{
	int ret;

	if (!count)
		return 0;
	if (!rust_of(q))
		return -EINVAL;
	ret = vb3core_remove_bufs(rust_of(q), start, count);
	show_all(q);
	return ret;
}
EXPORT_SYMBOL_GPL(vb2_core_remove_bufs);

/* Asks the V4L2 part what the program says of its planes, and takes references to dma-bufs. */
static int take_planes(struct vb3core *core, struct vb2_buffer *vb, void *pb)
{
	u32 i;
	int ret = core->q->buf_ops->fill_vb2_buffer(vb, core->pending);

	for (i = 0; !ret && i < vb->num_planes; i++) {
		struct vb2_plane *plane = &core->pending[i];
		struct vb3core_plane *given = &core->given[i];

		if (vb->memory == VB2_MEMORY_USERPTR) {
			given->userptr = plane->m.userptr;
		} else {
			struct dma_buf *dmabuf = dma_buf_get(plane->m.fd);

			given->fd = plane->m.fd;
			given->dmabuf = IS_ERR(dmabuf) ? NULL : dmabuf;
			if (given->dmabuf && !plane->length)
				plane->length = dmabuf->size;
		}
		given->length = plane->length;
	}
	return ret;
}

/* Drivers say so in any context, and the queue hears of it before its next call. */
static void tell_error(struct vb2_queue *q)
{
	if (q->error)
		vb3core_set_error(rust_of(q));
}

static int queue_or_prepare(struct vb2_queue *q, struct vb2_buffer *vb, void *pb, bool prepare)
{
	struct vb3core *core = vb3core_of(q);
	int ret = 0;

	if (!core || vb->state != VB2_BUF_STATE_DEQUEUED)
		return -EINVAL;
	tell_error(q);
	memset(core->given, 0, sizeof(core->given));
	memset(core->pending, 0, sizeof(core->pending));
	if (!vb->prepared) {
		if (q->is_output && q->ops->buf_out_validate)
			ret = q->ops->buf_out_validate(vb);
		if (!ret && vb->memory != VB2_MEMORY_MMAP)
			ret = take_planes(core, vb, pb);
		if (ret)
			return ret;
	} else if (!prepare && pb && q->buf_ops->copy_timestamp) {
		q->buf_ops->copy_timestamp(vb, pb);
	}
	core->vb = vb;
	core->pb = pb;
	core->is_prepare = prepare;
	core->is_filled = false;
	core->cursor = 0;
	if (!prepare)
		list_add_tail(&vb->queued_entry, &q->queued_list);
	ret = vb3core_qbuf(core->rust, vb->index, vb->memory, core->given, vb->num_planes, prepare);
	core->vb = NULL;
	if (ret) {
		show_all(q);
		return ret;
	}
	if (!prepare && vb->state == VB2_BUF_STATE_DEQUEUED)
		vb->state = VB2_BUF_STATE_QUEUED;
	show_queue(q);
	q->waiting_for_buffers = false;
	if (pb && !core->is_filled)
		q->buf_ops->fill_user_buffer(vb, pb);
	core->pb = NULL;
	return 0;
}

int vb2_core_prepare_buf(struct vb2_queue *q, struct vb2_buffer *vb, void *pb)
{
	if (vb->prepared)
		return -EINVAL;
	return queue_or_prepare(q, vb, pb, true);
}
EXPORT_SYMBOL_GPL(vb2_core_prepare_buf);

int vb2_core_qbuf(struct vb2_queue *q, struct vb2_buffer *vb, void *pb, struct media_request *req)
{
	int ret = req ? -EBADR : queue_or_prepare(q, vb, pb, false);

	if (!ret)
		trace_vb2_qbuf(q, vb);
	return ret;
}
EXPORT_SYMBOL_GPL(vb2_core_qbuf);

/* Sleeps until there is something to look at, without the driver's lock. */
static int sleep_for_buffer(struct vb2_queue *q)
{
	int ret = vb3core_begin_wait(rust_of(q));

	if (ret)
		return ret;
	q->waiting_in_dqbuf = 1;
	if (q->lock)
		mutex_unlock(q->lock);
	ret = wait_event_interruptible(q->done_wq, !list_empty_careful(&q->done_list) ||
				       !q->streaming || q->error);
	if (q->lock)
		mutex_lock(q->lock);
	q->waiting_in_dqbuf = 0;
	/* The queue may have been released meanwhile. */
	if (!rust_of(q))
		return -EINVAL;
	vb3core_end_wait(rust_of(q));
	return ret;
}

int vb2_core_dqbuf(struct vb2_queue *q, unsigned int *pindex, void *pb, bool nonblocking)
{
	struct vb2_buffer *vb;
	unsigned long flags;
	u32 index;
	int ret;

	do {
		if (!rust_of(q))
			return -EINVAL;
		if (q->streaming && !q->error && !q->waiting_in_dqbuf && q->last_buffer_dequeued)
			return -EPIPE;
		tell_error(q);
		ret = vb3core_dqbuf(rust_of(q), &index);
		if (ret == -EAGAIN && !nonblocking)
			ret = sleep_for_buffer(q) ?: -EAGAIN;
	} while (ret == -EAGAIN && !nonblocking);
	if (ret)
		return ret;
	vb = vb2_get_buffer(q, index);
	if (pindex)
		*pindex = index;
	/* Before it is the program's: it is told that the buffer is done. */
	if (pb)
		q->buf_ops->fill_user_buffer(vb, pb);
	list_del_init(&vb->queued_entry);
	spin_lock_irqsave(&q->done_lock, flags);
	list_del_init(&vb->done_entry);
	vb->state = VB2_BUF_STATE_DEQUEUED;
	spin_unlock_irqrestore(&q->done_lock, flags);
	show_queue(q);
	trace_vb2_dqbuf(q, vb);
	return 0;
}
EXPORT_SYMBOL_GPL(vb2_core_dqbuf);

int vb2_core_streamon(struct vb2_queue *q, unsigned int type)
{
	int ret;

	if (type != q->type || !rust_of(q))
		return -EINVAL;
	ret = vb3core_stream(rust_of(q), true);
	if (ret)
		show_all(q);
	else
		show_queue(q);
	return ret;
}
EXPORT_SYMBOL_GPL(vb2_core_streamon);

/* What a stopped queue shows. */
static void show_stopped(struct vb2_queue *q)
{
	show_all(q);
	atomic_set(&q->owned_by_drv_count, 0);
	q->error = 0;
	q->last_buffer_dequeued = false;
	q->waiting_for_buffers = !q->is_output;
	q->uses_qbuf = 0;
	wake_up_all(&q->done_wq);
}

int vb2_core_streamoff(struct vb2_queue *q, unsigned int type)
{
	int ret;

	if (type != q->type)
		return -EINVAL;
	if (!rust_of(q))
		return 0;
	ret = vb3core_stream(rust_of(q), false);
	if (!ret)
		show_stopped(q);
	return ret;
}
EXPORT_SYMBOL_GPL(vb2_core_streamoff);

int vb2_core_expbuf(struct vb2_queue *q, int *fd, unsigned int type, struct vb2_buffer *vb,
		    unsigned int plane, unsigned int flags)
{
	void *dmabuf;
	int ret;

	if (q->memory != VB2_MEMORY_MMAP || !q->mem_ops->get_dmabuf || type != q->type ||
	    (flags & ~(O_CLOEXEC | O_ACCMODE)) || plane >= vb->num_planes)
		return -EINVAL;
	ret = vb3core_expbuf(rust_of(q), vb->index, plane, flags & O_ACCMODE, &dmabuf);
	if (ret)
		return ret;
	ret = dma_buf_fd(dmabuf, flags & ~O_ACCMODE);
	if (ret < 0) {
		dma_buf_put(dmabuf);
		return ret;
	}
	*fd = ret;
	return 0;
}
EXPORT_SYMBOL_GPL(vb2_core_expbuf);

void vb2_core_querybuf(struct vb2_queue *q, struct vb2_buffer *vb, void *pb)
{
	if (pb && q->buf_ops->fill_user_buffer)
		q->buf_ops->fill_user_buffer(vb, pb);
}
EXPORT_SYMBOL_GPL(vb2_core_querybuf);

bool vb2_buffer_in_use(struct vb2_queue *q, struct vb2_buffer *vb)
{
	u32 i;

	for (i = 0; i < vb->num_planes; i++)
		if (vb->planes[i].mem_priv && q->mem_ops->num_users &&
		    q->mem_ops->num_users(vb->planes[i].mem_priv) > 1)
			return true;
	return false;
}
EXPORT_SYMBOL(vb2_buffer_in_use);

void *vb2_plane_vaddr(struct vb2_buffer *vb, unsigned int plane)
{
	if (plane >= vb->num_planes || !vb->planes[plane].mem_priv || !vb->vb2_queue->mem_ops->vaddr)
		return NULL;
	return vb->vb2_queue->mem_ops->vaddr(vb, vb->planes[plane].mem_priv);
}
EXPORT_SYMBOL_GPL(vb2_plane_vaddr);

void *vb2_plane_cookie(struct vb2_buffer *vb, unsigned int plane)
{
	if (plane >= vb->num_planes || !vb->planes[plane].mem_priv || !vb->vb2_queue->mem_ops->cookie)
		return NULL;
	return vb->vb2_queue->mem_ops->cookie(vb, vb->planes[plane].mem_priv);
}
EXPORT_SYMBOL_GPL(vb2_plane_cookie);

/* Completes a buffer; the turn that it names, or whichever it is in. Whether that was so. */
static bool done(struct vb2_buffer *vb, const u64 *turn, enum vb2_buffer_state state)
{
	struct vb2_queue *q = vb->vb2_queue;
	u64 payloads[VB2_MAX_PLANES];
	unsigned long flags;
	u32 i;

	if (!rust_of(q))
		return false;
	if (WARN_ON(state != VB2_BUF_STATE_DONE && state != VB2_BUF_STATE_ERROR &&
		    state != VB2_BUF_STATE_QUEUED))
		state = VB2_BUF_STATE_ERROR;
	for (i = 0; i < VB2_MAX_PLANES; i++)
		payloads[i] = vb->planes[i].bytesused;
	spin_lock_irqsave(&q->done_lock, flags);
	if (turn && *turn != vb3core_turn(rust_of(q), vb->index)) {
		spin_unlock_irqrestore(&q->done_lock, flags);
		return false;
	}
	if (state == VB2_BUF_STATE_QUEUED) {
		vb3core_give_back(rust_of(q), vb->index);
		vb->state = state;
	} else if (vb3core_done(rust_of(q), vb->index, state == VB2_BUF_STATE_ERROR, payloads)) {
		vb->state = state;
		list_add_tail(&vb->done_entry, &q->done_list);
	}
	atomic_dec(&q->owned_by_drv_count);
	spin_unlock_irqrestore(&q->done_lock, flags);
	trace_vb2_buf_done(q, vb);
	if (state != VB2_BUF_STATE_QUEUED)
		wake_up(&q->done_wq);
	return true;
}

void vb2_buffer_done(struct vb2_buffer *vb, enum vb2_buffer_state state)
{
	if (!WARN_ON(vb->state != VB2_BUF_STATE_ACTIVE))
		done(vb, NULL, state);
}
EXPORT_SYMBOL_GPL(vb2_buffer_done);

/*
 * What the stock core does not have: a driver that keeps the turn in which it got a buffer can complete
 * that one, and no later one. 0 is no buffer's.
 */
u64 vb3core_turn_of(struct vb2_buffer *vb)
{
	struct vb2_queue *q = vb->vb2_queue;
	unsigned long flags;
	u64 turn;

	spin_lock_irqsave(&q->done_lock, flags);
	turn = rust_of(q) ? vb3core_turn(rust_of(q), vb->index) : 0;
	spin_unlock_irqrestore(&q->done_lock, flags);
	return turn;
}
EXPORT_SYMBOL_GPL(vb3core_turn_of);

bool vb3core_done_of(struct vb2_buffer *vb, u64 turn, enum vb2_buffer_state state)
{
	return done(vb, &turn, state);
}
EXPORT_SYMBOL_GPL(vb3core_done_of);

void vb2_discard_done(struct vb2_queue *q)
{
	struct vb2_buffer *vb;
	unsigned long flags;

	spin_lock_irqsave(&q->done_lock, flags);
	list_for_each_entry(vb, &q->done_list, done_entry)
		vb->state = VB2_BUF_STATE_ERROR;
	spin_unlock_irqrestore(&q->done_lock, flags);
}
EXPORT_SYMBOL_GPL(vb2_discard_done);

int vb2_wait_for_all_buffers(struct vb2_queue *q)
{
	if (!q->streaming)
		return -EINVAL;
	if (q->start_streaming_called)
		wait_event(q->done_wq, !atomic_read(&q->owned_by_drv_count));
	return 0;
}
EXPORT_SYMBOL_GPL(vb2_wait_for_all_buffers);

void vb2_queue_error(struct vb2_queue *q)
{
	q->error = 1;
	wake_up_all(&q->done_wq);
}
EXPORT_SYMBOL_GPL(vb2_queue_error);

/* Programs map without the driver's lock, so the queue cannot be asked: mmap_lock keeps the plane. */
int vb2_mmap(struct vb2_queue *q, struct vm_area_struct *vma)
{
	unsigned long page = vma->vm_pgoff;
	struct vb2_buffer *vb;
	struct vb2_plane *plane;
	int ret = -EINVAL;

	if (!(vma->vm_flags & VM_SHARED) || !(vma->vm_flags & (q->is_output ? VM_WRITE : VM_READ)))
		return -EINVAL;
	mutex_lock(&q->mmap_lock);
	vb = vb2_get_buffer(q, page >> 3);
	if (q->memory != VB2_MEMORY_MMAP || !vb || (page & 7) >= vb->num_planes)
		goto unlock;
	plane = &vb->planes[page & 7];
	if (vb2_fileio_is_active(q)) {
		ret = -EBUSY;
	} else if (plane->mem_priv && PAGE_ALIGN(plane->length) >= vma->vm_end - vma->vm_start) {
		vma->vm_pgoff = 0;
		ret = q->mem_ops->mmap(plane->mem_priv, vma);
	}
unlock:
	mutex_unlock(&q->mmap_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(vb2_mmap);

int vb2_core_queue_init(struct vb2_queue *q)
{
	if (WARN_ON(!q->ops || !q->mem_ops || !q->type || !q->io_modes || !q->ops->queue_setup ||
		    !q->ops->buf_queue))
		return -EINVAL;
	if (!q->max_num_buffers)
		q->max_num_buffers = VB2_MAX_FRAME;
	q->max_num_buffers = min(q->max_num_buffers, 1u << (30 - PAGE_SHIFT - 3));
	q->min_reqbufs_allocation = max(q->min_reqbufs_allocation, q->min_queued_buffers + 1);
	/* Not in this trial. */
	q->supports_requests = 0;
	INIT_LIST_HEAD(&q->queued_list);
	INIT_LIST_HEAD(&q->done_list);
	spin_lock_init(&q->done_lock);
	mutex_init(&q->mmap_lock);
	init_waitqueue_head(&q->done_wq);
	q->memory = VB2_MEMORY_UNKNOWN;
	if (!q->buf_struct_size)
		q->buf_struct_size = sizeof(struct vb2_buffer);
	q->dma_dir = q->bidirectional ? DMA_BIDIRECTIONAL :
		     q->is_output ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
	if (!q->name[0])
		snprintf(q->name, sizeof(q->name), "%s-%p", q->is_output ? "out" : "cap", q);
	return 0;
}
EXPORT_SYMBOL_GPL(vb2_core_queue_init);

void vb2_core_queue_release(struct vb2_queue *q)
{
	struct vb3core *core = vb3core_of(q);
	u32 index;

	if (!core)
		return;
	/* Also of a queue that streams, or is read: what there is goes. */
	vb3core_free(core->rust);
	core->rust = NULL;
	INIT_LIST_HEAD(&q->queued_list);
	INIT_LIST_HEAD(&q->done_list);
	for (index = 0; index < q->max_num_buffers; index++)
		if (vb2_get_buffer(q, index))
			vb3core_forget(q, q->bufs[index]);
	mutex_lock(&q->mmap_lock);
	q->threadio = NULL;
	q->fileio = NULL;
	kfree(q->bufs);
	bitmap_free(q->bufs_bitmap);
	q->bufs = NULL;
	q->bufs_bitmap = NULL;
	mutex_unlock(&q->mmap_lock);
	q->streaming = q->error = q->is_busy = 0;
	q->queued_count = 0;
	q->memory = VB2_MEMORY_UNKNOWN;
	q->last_buffer_dequeued = false;
	atomic_set(&q->owned_by_drv_count, 0);
	kfree(core);
	wake_up_all(&q->done_wq);
}
EXPORT_SYMBOL_GPL(vb2_core_queue_release);

__poll_t vb2_core_poll(struct vb2_queue *q, struct file *file, poll_table *wait)
{
	__poll_t wanted = poll_requested_events(wait);
	bool readable = wanted & (EPOLLIN | EPOLLRDNORM), writable = wanted & (EPOLLOUT | EPOLLWRNORM);
	int answer;

	poll_wait(file, &q->done_wq, wait);
	if (!(q->is_output ? writable : readable))
		return 0;
	if (begin(q) || q->error)
		return EPOLLERR;
	if (q->last_buffer_dequeued && q->streaming)
		return EPOLLIN | EPOLLRDNORM;
	vb3core_of(q)->wanted = q->min_reqbufs_allocation;
	if (!vb2_get_num_buffers(q))
		set_memory(q, VB2_MEMORY_MMAP, false);
	answer = vb3core_poll(rust_of(q), readable, writable);
	show_all(q);
	if (answer == 2)
		return EPOLLERR;
	if (!answer)
		return 0;
	return q->is_output ? EPOLLOUT | EPOLLWRNORM : EPOLLIN | EPOLLRDNORM;
}
EXPORT_SYMBOL_GPL(vb2_core_poll);

static ssize_t fileio(struct vb2_queue *q, char __user *data, size_t count, int nonblock, bool write)
{
	ssize_t moved;

	do {
		int ret = begin(q);

		if (ret)
			return ret;
		if (q->error)
			return -EIO;
		vb3core_of(q)->wanted = q->min_reqbufs_allocation;
		vb3core_of(q)->counted = 0;
		if (!vb2_get_num_buffers(q))
			set_memory(q, VB2_MEMORY_MMAP, false);
		moved = vb3core_fileio(rust_of(q), (void __force *)data, count, write, ktime_get_ns());
		show_all(q);
		if (moved == -EAGAIN && !nonblock) {
			ret = sleep_for_buffer(q);
			if (ret)
				return ret;
		}
	} while (moved == -EAGAIN && !nonblock);
	return moved;
}

ssize_t vb2_read(struct vb2_queue *q, char __user *data, size_t count, loff_t *ppos, int nonblock)
{
	return fileio(q, data, count, nonblock, false);
}
EXPORT_SYMBOL_GPL(vb2_read);

ssize_t vb2_write(struct vb2_queue *q, const char __user *data, size_t count, loff_t *ppos,
		 int nonblock)
{
	return fileio(q, (char __user *)data, count, nonblock, true);
}
EXPORT_SYMBOL_GPL(vb2_write);

int vb2_thread_start(struct vb2_queue *q, vb2_thread_fnc fnc, void *priv, const char *name)
{
	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_GPL(vb2_thread_start);

int vb2_thread_stop(struct vb2_queue *q)
{
	return 0;
}
EXPORT_SYMBOL_GPL(vb2_thread_stop);

bool vb2_request_object_is_buffer(struct media_request_object *obj)
{
	return false;
}
EXPORT_SYMBOL_GPL(vb2_request_object_is_buffer);

unsigned int vb2_request_buffer_cnt(struct media_request *req)
{
	return 0;
}
EXPORT_SYMBOL_GPL(vb2_request_buffer_cnt);

MODULE_DESCRIPTION("A trial: videobuf2's queues by videobuf3");
MODULE_AUTHOR("videobuf3");
MODULE_LICENSE("GPL");
