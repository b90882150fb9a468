// SPDX-License-Identifier: GPL-2.0-only
/* Hand-overs of device memory between CPU and device. May run in interrupt context. */
#include <media/videobuf2-core.h>

#include "buffer.h"
#include "vb3.h"

static void hand_over(struct vb3_buf *buf, bool to_device, bool skip)
{
	int done;

	/* A cache hint cannot omit the sync of a bounced copy. */
	if (buf->use && READ_ONCE(buf->use->bounces)) {
		vb3_rs_sync_import(RUST(buf), to_device);
		atomic_inc(&buf->synced);
		return;
	}
	if (!buf->is_handed_over)
		return;
	done = vb3_rs_hand_over(RUST(buf), buf->sgt, to_device, skip);
	if (done > 0)
		atomic_inc(&buf->synced);
	else if (done < 0)
		atomic_inc(&buf->skipped);
}

void vb3_op_prepare(void *priv)
{
	struct vb3_buf *buf = priv;

	if (buf->use)
		WRITE_ONCE(buf->use->in_use, 1);
	hand_over(buf, true, buf->vb->skip_cache_sync_on_prepare);
}

void vb3_op_finish(void *priv)
{
	struct vb3_buf *buf = priv;

	hand_over(buf, false, buf->vb->skip_cache_sync_on_finish);
	if (buf->use)
		smp_store_release(&buf->use->in_use, 0);
}
