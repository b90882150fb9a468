// SPDX-License-Identifier: GPL-2.0-only
/* Memory operations that differ by kind of memory; each kind.h has the differences. */
#include <linux/device.h>
#include <linux/lockdep.h>
#include <linux/slab.h>

#include <media/videobuf2-core.h>

#include "buffer.h"
#include "vb3.h"
#include "kind.h"

/* Importers' mutexes have a separate lock class, since exporters' are taken below them. */
static struct lock_class_key exporters, importers;

static struct vb3_buf *new_buf(struct vb2_buffer *vb, struct device *dev)
{
	return WARN_ON(VB3_NEEDS_DEVICE && !dev) ? ERR_PTR(-EINVAL) : vb3_new_buf(vb);
}

void *vb3_op_alloc(struct vb2_buffer *vb, struct device *dev, unsigned long size)
{
	struct vb3_buf *buf = new_buf(vb, dev);
	u64 addr = 0;
	int ret;

	if (IS_ERR(buf))
		return buf;
	lockdep_set_class(&buf->lock, &exporters);
	refcount_set(&buf->users, 1);
	ret = kind_alloc(buf, dev, size, vb->vb2_queue, &addr);
	return vb3_made(buf, ret, dev, addr);
}

#ifdef VB3_COOKIE
void *vb3_op_cookie(struct vb2_buffer *vb, void *priv)
{
	return VB3_COOKIE((struct vb3_buf *)priv);
}
#endif

void *vb3_op_get_userptr(struct vb2_buffer *vb, struct device *dev, unsigned long vaddr,
			 unsigned long size)
{
	struct vb3_buf *buf = new_buf(vb, dev);
	u64 addr = 0;
	int ret;

	if (IS_ERR(buf))
		return buf;
	/* User memory has no lock. */
	ret = kind_get_userptr(buf, dev, vaddr, size, vb->vb2_queue->dma_dir, &addr);
	return vb3_made(buf, ret, dev, addr);
}

void *vb3_op_attach_dmabuf(struct vb2_buffer *vb, struct device *dev, struct dma_buf *dbuf,
			   unsigned long size)
{
	struct vb3_buf *buf = new_buf(vb, dev);
	int ret;

	if (IS_ERR(buf))
		return buf;
	lockdep_set_class(&buf->lock, &importers);
	ret = kind_import(buf, dev, dbuf, size, vb->vb2_queue->dma_dir);
	return vb3_made(buf, ret, dev, 0);
}

int vb3_op_map_dmabuf(void *priv)
{
	return kind_map(priv);
}

void vb3_op_unmap_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;

	vb3_rs_import_unmap(RUST(buf));
	buf->dma_addr = 0;
	buf->sgt = NULL;
}
