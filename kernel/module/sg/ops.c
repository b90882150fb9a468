// SPDX-License-Identifier: GPL-2.0-only
/* Memory operations of dma-sg. The cookie is the table that is mapped for the device. */
#include <linux/device.h>
#include <linux/slab.h>

#include <media/videobuf2-core.h>

#include "buffer.h"
#include "vb3.h"

static struct vb3_buf *new_buf(struct vb2_buffer *vb, struct device *dev)
{
	struct vb3_buf *buf = WARN_ON(!dev) ? ERR_PTR(-EINVAL) : vb3_new_buf(vb);

	if (!IS_ERR(buf))
		buf->sgt = NULL;
	return buf;
}

void *vb3_op_alloc(struct vb2_buffer *vb, struct device *dev, unsigned long size)
{
	struct vb2_queue *q = vb->vb2_queue;
	struct vb3_buf *buf = new_buf(vb, dev);
	int ret;

	if (IS_ERR(buf))
		return buf;
	mutex_init(&buf->lock);
	refcount_set(&buf->users, 1);
	ret = vb3_rs_alloc_sg(RUST(buf), dev, size, q->dma_dir, (__force unsigned int)q->gfp_flags,
			      &buf->sgt);
	return vb3_made(buf, ret, dev, 0);
}

void *vb3_op_cookie(struct vb2_buffer *vb, void *priv)
{
	return ((struct vb3_buf *)priv)->sgt;
}

void *vb3_op_get_userptr(struct vb2_buffer *vb, struct device *dev, unsigned long vaddr,
			 unsigned long size)
{
	struct vb3_buf *buf = new_buf(vb, dev);
	int ret;

	if (IS_ERR(buf))
		return buf;
	/* Nobody locks user memory. */
	ret = vb3_rs_get_userptr_sg(RUST(buf), dev, vaddr, size, vb->vb2_queue->dma_dir,
				    &buf->sgt);
	return vb3_made(buf, ret, dev, 0);
}

void *vb3_op_attach_dmabuf(struct vb2_buffer *vb, struct device *dev, struct dma_buf *dbuf,
			   unsigned long size)
{
	struct vb3_buf *buf = new_buf(vb, dev);
	int ret;

	if (IS_ERR(buf))
		return buf;
	/* Another class than the exporter's, which is taken below it. */
	mutex_init(&buf->lock);
	ret = vb3_rs_import_sg(RUST(buf), dev, dbuf, size, vb->vb2_queue->dma_dir);
	return vb3_made(buf, ret, dev, 0);
}

int vb3_op_map_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;

	return vb3_rs_import_map_sg(RUST(buf), &buf->sgt);
}

void vb3_op_unmap_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;

	vb3_rs_import_unmap(RUST(buf));
	buf->sgt = NULL;
}
