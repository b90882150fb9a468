// SPDX-License-Identifier: GPL-2.0-only
/* Hand-overs of device memory between CPU and device. May run in interrupt context. */
#include <linux/dma-mapping.h>

#include <media/videobuf2-core.h>

#include "buffer.h"
#include "vb3.h"

static bool bounces(const struct vb3_buf *buf)
{
	return buf->use && READ_ONCE(buf->use->bounces);
}

static bool is_due(const struct vb3_buf *buf, u8 step)
{
	return (buf->syncs & step) || bounces(buf);
}

/*
 * Syncs the memory in a step that is due. A cache hint omits the sync, unless the importer's
 * mapping bounces.
 */
static noinline void sync_buf(struct vb3_buf *buf, u8 step, bool skip)
{
	if (skip && !bounces(buf)) {
		atomic_inc(&buf->skipped);
		atomic64_inc(&vb3_rs_counts[VB3_SKIPPED]);
		return;
	}
	/* The core does not unmap a buffer while it hands it over. */
	if (!buf->sgt)
		return;
	if (step == VB3_PREPARE)
		dma_sync_sgtable_for_device(buf->dev, buf->sgt, buf->vb->vb2_queue->dma_dir);
	else
		dma_sync_sgtable_for_cpu(buf->dev, buf->sgt, buf->vb->vb2_queue->dma_dir);
	atomic_inc(&buf->synced);
	atomic64_inc(&vb3_rs_counts[VB3_SYNCS]);
}

void vb3_op_prepare(void *priv)
{
	struct vb3_buf *buf = priv;

	if (buf->use)
		WRITE_ONCE(buf->use->in_use, 1);
	if (is_due(buf, VB3_PREPARE))
		sync_buf(buf, VB3_PREPARE, buf->vb->skip_cache_sync_on_prepare);
}

void vb3_op_finish(void *priv)
{
	struct vb3_buf *buf = priv;

	if (is_due(buf, VB3_FINISH))
		sync_buf(buf, VB3_FINISH, buf->vb->skip_cache_sync_on_finish);
	if (buf->use)
		smp_store_release(&buf->use->in_use, 0);
}
