// SPDX-License-Identifier: GPL-2.0-only
/* Memory operations of vmalloc. There may be no device: only the CPU uses the memory. */
#include <linux/err.h>
#include <linux/slab.h>

#include <media/videobuf2-core.h>

#include "buffer.h"
#include "vb3.h"

void *vb3_op_alloc(struct vb2_buffer *vb, struct device *dev, unsigned long size)
{
	struct vb3_buf *buf = vb3_new_buf(vb);
	int ret;

	if (IS_ERR(buf))
		return buf;
	mutex_init(&buf->lock);
	refcount_set(&buf->users, 1);
	ret = vb3_rs_alloc_virtual(RUST(buf), dev, size, vb->vb2_queue->dma_dir);
	return vb3_made(buf, ret, dev, 0);
}

void *vb3_op_get_userptr(struct vb2_buffer *vb, struct device *dev, unsigned long vaddr,
			 unsigned long size)
{
	struct vb3_buf *buf = vb3_new_buf(vb);
	int ret;

	if (IS_ERR(buf))
		return buf;
	/* Nobody locks user memory. */
	ret = vb3_rs_get_userptr_virtual(RUST(buf), dev, vaddr, size, vb->vb2_queue->dma_dir);
	return vb3_made(buf, ret, dev, 0);
}

void *vb3_op_attach_dmabuf(struct vb2_buffer *vb, struct device *dev, struct dma_buf *dbuf,
			   unsigned long size)
{
	struct vb3_buf *buf = vb3_new_buf(vb);
	int ret;

	if (IS_ERR(buf))
		return buf;
	/* Another class than the exporter's, which is taken below it. */
	mutex_init(&buf->lock);
	ret = vb3_rs_import_virtual(RUST(buf), dev, dbuf, size, vb->vb2_queue->dma_dir);
	return vb3_made(buf, ret, dev, 0);
}

int vb3_op_map_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;
	u64 addr = buf->dma_addr;
	int ret = vb3_rs_import_map(RUST(buf), &addr);

	if (!ret)
		buf->dma_addr = addr;
	return ret;
}

void vb3_op_unmap_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;

	vb3_rs_import_unmap(RUST(buf));
	buf->dma_addr = 0;
}
