// SPDX-License-Identifier: GPL-2.0-only
/* Memory operations that make a buffer or map one. */
#include <linux/device.h>
#include <linux/lockdep.h>
#include <linux/slab.h>

#include <media/videobuf2-core.h>

#include "buffer.h"
#include "vb3.h"

/* The mutexes of importers have a lock class of their own: a thread that holds one may take an exporter's. */
static struct lock_class_key exporters, importers;

static struct vb3_buf *new_buf(struct vb2_buffer *vb, struct device *dev, unsigned long size,
			       struct vb3_request *request)
{
	struct vb3_buf *buf;

	if (WARN_ON(!dev))
		return ERR_PTR(-EINVAL);
	buf = vb3_new_buf(vb);
	if (IS_ERR(buf))
		return buf;
	request->to = RUST(buf);
	request->dev = dev;
	request->bytes = size;
	request->direction = vb->vb2_queue->dma_dir;
	return buf;
}

void *vb3_op_alloc(struct vb2_buffer *vb, struct device *dev, unsigned long size)
{
	struct vb2_queue *q = vb->vb2_queue;
	struct vb3_request request = {
		.gfp = (__force unsigned int)q->gfp_flags,
		.attrs = q->dma_attrs,
		.non_coherent = q->non_coherent_mem,
	};
	struct vb3_buf *buf = new_buf(vb, dev, size, &request);

	if (IS_ERR(buf))
		return buf;
	lockdep_set_class(&buf->lock, &exporters);
	refcount_set(&buf->users, 1);
	vb3_count_user(buf, VB3_PLANE);
	return vb3_made(buf, vb3_rs_alloc(&request), &request);
}

void *vb3_op_cookie(struct vb2_buffer *vb, void *priv)
{
	return &((struct vb3_buf *)priv)->dma_addr;
}

void *vb3_op_get_userptr(struct vb2_buffer *vb, struct device *dev, unsigned long vaddr,
			 unsigned long size)
{
	struct vb3_request request = { .at = vaddr };
	struct vb3_buf *buf = new_buf(vb, dev, size, &request);

	if (IS_ERR(buf))
		return buf;
	/* A buffer with user memory never uses its mutex, so this sets no class. */
	return vb3_made(buf, vb3_rs_get_userptr(&request), &request);
}

void *vb3_op_attach_dmabuf(struct vb2_buffer *vb, struct device *dev, struct dma_buf *dbuf,
			   unsigned long size)
{
	struct vb3_request request = { .buf = dbuf };
	struct vb3_buf *buf = new_buf(vb, dev, size, &request);

	if (IS_ERR(buf))
		return buf;
	lockdep_set_class(&buf->lock, &importers);
	return vb3_made(buf, vb3_rs_import(&request), &request);
}

int vb3_op_map_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;
	u64 addr = buf->dma_addr;
	int ret = vb3_rs_import_map(RUST(buf), &addr, &buf->sgt);

	buf->dma_addr = addr;
	return ret;
}

void vb3_op_unmap_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;

	vb3_rs_import_unmap(RUST(buf));
	buf->dma_addr = 0;
	buf->sgt = NULL;
}
