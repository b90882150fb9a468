// SPDX-License-Identifier: GPL-2.0-only
/* Finds the reason of a refusal. Runs in the handlers of probes, with the refused call's arguments. */
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/iommu.h>
#include <linux/version.h>
#include <linux/videodev2.h>
#include <media/videobuf2-core.h>

#include "why.h"

/* Sets a reason. Returns true, so that a function can end with it. */
static bool say(struct record *op, const char *constraint, u64 wanted, u64 found)
{
	op->constraint = constraint;
	op->wanted = wanted;
	op->found = found;
	return true;
}

static bool is_translated(struct device *dev)
{
	struct iommu_domain *domain = dev ? iommu_get_domain_for_dev(dev) : NULL;

	return domain && domain->type & __IOMMU_DOMAIN_PAGING;
}

/* Reads a scatter table after its mapping: the DMA addresses if that succeeded, otherwise the pages. */
void look(struct record *op, struct sg_table *sgt, int error)
{
	/* The end of a long table is left out, because handlers run with preemption disabled. */
	unsigned int i, count = min(error ? sgt->orig_nents : sgt->nents, 65536u);
	struct scatterlist *sg;
	dma_addr_t next = 0;

	op->contiguous = op->longest = op->last_address = 0;
	op->segments = count;
	for_each_sg(sgt->sgl, sg, count, i) {
		if (!error) {
			if (i && sg_dma_address(sg) != next)
				break;
			next = sg_dma_address(sg) + sg_dma_len(sg);
			op->contiguous += sg_dma_len(sg);
		} else if (sg_page(sg)) {
			op->longest = max_t(u64, op->longest, sg->length);
			op->last_address = max_t(u64, op->last_address, sg_phys(sg) + sg->length - 1);
		}
	}
}

static unsigned int buffers_of(struct vb2_queue *q)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	return vb2_get_num_buffers(q);
#else
	return q->num_buffers;
#endif
}

/* The largest number of buffers. */
static unsigned int limit_of(struct vb2_queue *q)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	return q->max_num_buffers;
#else
	return VB2_MAX_FRAME;
#endif
}

static unsigned int needed_by(struct vb2_queue *q)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	return max(q->min_queued_buffers, 1u);
#else
	return max(q->min_buffers_needed, 1u);
#endif
}

/* The io_modes bit of a memory type of V4L2. */
static unsigned int mode_of(u32 memory)
{
	return memory == V4L2_MEMORY_MMAP ? VB2_MMAP : memory == V4L2_MEMORY_USERPTR ? VB2_USERPTR :
	       memory == V4L2_MEMORY_DMABUF ? VB2_DMABUF : 0;
}

/* Explains why the core refused a buffer, by the checks that it makes in QBUF and PREPARE_BUF. */
static bool explain_buffer(struct record *op, const struct v4l2_buffer *b)
{
	bool is_mplane = V4L2_TYPE_IS_MULTIPLANAR(b->type);
	struct vb2_buffer *vb = vb2_get_buffer(op->queue, b->index);
	unsigned int i;

	if (!vb)
		return say(op, "buffer-index", buffers_of(op->queue), b->index);
	if (b->memory != op->queue->memory)
		return say(op, "memory-mixed", op->queue->memory, b->memory);
	if (is_mplane && (!b->m.planes || b->length < vb->num_planes))
		return say(op, "plane-count", vb->num_planes, b->m.planes ? b->length : 0);
	if (vb->state != VB2_BUF_STATE_DEQUEUED)
		return say(op, "buffer-state", VB2_BUF_STATE_DEQUEUED, vb->state);
	if (op->get_error)
		return say(op, "dmabuf-fd", 0, -op->get_error);
	for (i = 0; i < vb->num_planes; i++) {
		const struct v4l2_plane *p = is_mplane ? &b->m.planes[i] : NULL;
		u32 used = p ? p->bytesused : b->bytesused, length = p ? p->length : b->length;

		if (b->memory == V4L2_MEMORY_MMAP)
			length = vb->planes[i].length;
		else if (b->memory == V4L2_MEMORY_DMABUF && !length)
			length = min_t(u64, op->size, U32_MAX);
		if (length < vb->planes[i].min_length)
			return say(op, "buffer-size", vb->planes[i].min_length, length);
		if (V4L2_TYPE_IS_OUTPUT(b->type) && used > length)
			return say(op, "bytes-used", length, used);
	}
	return false;
}

/* Explains EBUSY: who has the queue. */
static bool explain_busy(struct record *op)
{
	struct vb2_queue *q = op->queue;

	if (q->fileio)
		return say(op, "read-write", 0, 0);
	if (op->file && q->owner && q->owner != op->file->private_data)
		return say(op, "owner", 0, 0);
	if (op->kind == REQBUFS && q->streaming)
		return say(op, "streaming", 0, 0);
	if ((op->kind == REQBUFS || op->kind == CREATE_BUFS) && q->waiting_in_dqbuf)
		return say(op, "dqbuf-waits", 0, 0);
	if ((op->kind == QBUF || op->kind == PREPARE_BUF) && (q->uses_requests || q->uses_qbuf))
		return say(op, "requests-mixed", q->uses_requests, 0);
	return false;
}

/* Explains EINVAL: the argument that does not fit the queue. */
static bool explain_argument(struct record *op)
{
	const struct v4l2_requestbuffers *r = op->call;
	const struct v4l2_create_buffers *c = op->call;
	const struct v4l2_exportbuffer *e = op->call;
	const struct v4l2_buffer *b = op->call;
	struct vb2_queue *q = op->queue;
	u32 memory = op->kind == REQBUFS ? r->memory : op->kind == CREATE_BUFS ? c->memory : 0;
	u32 type = op->kind == STREAMON ? (unsigned long)op->call : op->kind == REQBUFS ? r->type :
		   op->kind == CREATE_BUFS ? c->format.type : op->kind == EXPBUF ? e->type : b->type;

	if (type != q->type)
		return say(op, "buffer-type", q->type, type);
	switch (op->kind) {
	case REQBUFS:
	case CREATE_BUFS:
		if (!(q->io_modes & mode_of(memory)))
			return say(op, "memory-type", q->io_modes, memory);
		if (op->kind == CREATE_BUFS && buffers_of(q) && q->memory != memory)
			return say(op, "memory-mixed", q->memory, memory);
		return op->kind == CREATE_BUFS && say(op, "create-size", 0, op->size);
	case EXPBUF:
		if (q->memory != VB2_MEMORY_MMAP)
			return say(op, "memory-mixed", VB2_MEMORY_MMAP, q->memory);
		return !vb2_get_buffer(q, e->index) && say(op, "buffer-index", buffers_of(q), e->index);
	case STREAMON:
		return buffers_of(q) < needed_by(q) && say(op, "no-buffers", needed_by(q), buffers_of(q));
	default:
		return explain_buffer(op, b);
	}
}

/* Explains a call that failed although no allocator refused memory in it. */
static void explain_call(struct record *op)
{
	if (!op->queue)
		say(op, op->error == EBUSY && op->file ? "owner" : "driver-errno", 0, op->error);
	else if (op->error == EIO && op->queue->error)
		say(op, "queue-error", 0, 0);
	else if (op->error == EBADR && (op->kind == QBUF || op->kind == PREPARE_BUF))
		say(op, "requests", op->queue->requires_requests, 0);
	else if (op->error == ENOBUFS && op->kind == CREATE_BUFS)
		say(op, "buffer-count", limit_of(op->queue), buffers_of(op->queue));
	else if (!(op->error == EBUSY && explain_busy(op)) &&
		 !(op->error == EINVAL && explain_argument(op)))
		say(op, "driver-errno", 0, op->error);
}

/* Explains an operation's error by the first constraint that the operation violates. */
void explain(struct record *op)
{
	bool is_user = op->kind == USERPTR;
	/* The free CMA memory, or the largest block of the page allocator if that is more. */
	u64 room = (u64)max(global_zone_page_state(NR_FREE_CMA_PAGES),
			    1ul << (ARRAY_SIZE(((struct zone *)NULL)->free_area) - 1)) << PAGE_SHIFT;
	u64 free = (u64)si_mem_available() << PAGE_SHIFT;
	/* The largest bounce. SIZE_MAX: the kernel does not bounce for this device. */
	size_t bounce = op->dma_error ? dma_max_mapping_size(op->dev) : 0;
	/* The last physical address that the device reaches without an IOMMU. */
	u64 limit = op->dma_error ? min_not_zero(dma_get_mask(op->dev), op->dev->bus_dma_limit) : 0;
	u64 last = op->dma_error ? dma_to_phys(op->dev, limit) : 0;

	if (is_call(op->kind))
		explain_call(op);
	else if (op->kind == HEAP_CMA)
		say(op, "cma-size", op->size, (u64)global_zone_page_state(NR_FREE_CMA_PAGES) << PAGE_SHIFT);
	else if (op->get_error)
		say(op, "dmabuf-fd", 0, -op->get_error);
	else if (op->attach_error)
		say(op, "exporter-errno", 0, -op->attach_error);
	else if (is_user && !op->size)
		say(op, "buffer-size", 1, 0);
	else if (is_user && op->is_contig && !IS_ALIGNED(op->vaddr | op->size, dma_get_cache_alignment()))
		say(op, "alignment", dma_get_cache_alignment(), 1u << __ffs(op->vaddr | op->size));
	else if (op->kind == ATTACH && op->dmabuf->size < op->size)
		say(op, "buffer-size", op->size, op->dmabuf->size);
	else if (op->dma_error && is_translated(op->dev))
		say(op, "iova-space", op->size, 0);
	else if (op->dma_error && op->last_address > last && (op->longest > bounce || bounce == SIZE_MAX))
		say(op, "dma-mask", op->last_address, last);
	else if (op->dma_error)
		say(op, "bounce-pool", op->longest, bounce);
	else if (op->is_contig && op->segments && !op->dmabuf_error && op->contiguous < op->size)
		say(op, "contiguous", op->size, op->contiguous);
	else if (op->kind == PRIME)
		say(op, op->dmabuf_error ? "exporter-errno" : "driver-errno", 0,
		    op->dmabuf_error ? -op->dmabuf_error : op->error);
	else if (op->kind == MAP && !op->dev)
		say(op, "cpu-mapping", op->size, 0);
	else if (op->kind == ATTACH || op->kind == MAP)
		say(op, "exporter-errno", 0, op->dmabuf_error ? -op->dmabuf_error : op->error);
	else if (is_user)
		say(op, "user-pages", PAGE_ALIGN(offset_in_page(op->vaddr) + op->size) >> PAGE_SHIFT, 0);
	else if (op->is_contig && op->dev && !is_translated(op->dev))
		say(op, op->size > room ? "cma-size" : "contiguous", op->size, room);
	else if (op->is_contig && op->dev && op->size <= free)
		say(op, "iova-space", op->size, 0);
	else
		say(op, "ram", op->size, free);
}

