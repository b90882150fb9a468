// SPDX-License-Identifier: GPL-2.0-only
/* dma-bufs of other exporters, for the Rust object, and those of this module, for importers. */
#include <linux/dma-buf.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <media/videobuf2-core.h>

#include "buffer.h"
#include "vb3.h"

/* dma-bufs of other exporters. */

u64 vb3_buf_size(struct dma_buf *buf)
{
	return buf->size;
}

void vb3_buf_detach(struct dma_buf_attachment *attachment)
{
	dma_buf_detach(attachment->dmabuf, attachment);
}

struct sg_table *vb3_buf_map(struct dma_buf_attachment *attachment, int direction)
{
	if (vb3_fails())
		return ERR_PTR(-ENOMEM);
	return dma_buf_map_attachment_unlocked(attachment, direction);
}

void vb3_buf_unmap(struct dma_buf_attachment *attachment, struct sg_table *sgt, int direction)
{
	dma_buf_unmap_attachment_unlocked(attachment, sgt, direction);
}

/* Tells the exporter again whether it mapped I/O memory, because that decides how to unmap it. */
void vb3_buf_vunmap(struct dma_buf *buf, void *vaddr, bool is_iomem)
{
	struct iosys_map map;

	if (is_iomem)
		iosys_map_set_vaddr_iomem(&map, (void __iomem *)vaddr);
	else
		iosys_map_set_vaddr(&map, vaddr);
	dma_buf_vunmap_unlocked(buf, &map);
}

/* Drivers use the result like memory. For I/O memory, only x86 allows that. */
void *vb3_buf_vmap(struct dma_buf *buf, bool *is_iomem)
{
	struct iosys_map map;

	if (vb3_fails() || dma_buf_vmap_unlocked(buf, &map))
		return NULL;
	*is_iomem = map.is_iomem;
	if (map.is_iomem && !IS_ENABLED(CONFIG_X86)) {
		vb3_buf_vunmap(buf, map.vaddr, true);
		return NULL;
	}
	return map.vaddr;
}

/* The module's own dma-bufs. */

/* A device's attachment to a dma-buf of this module, and after it the Rust object's entry. */
struct attached {
	struct vb3_use use;
	u64 rust[VB3_ENTRY_BYTES / sizeof(u64)];
};

static int buf_attach(struct dma_buf *dbuf, struct dma_buf_attachment *attachment)
{
	struct attached *attached = vb3_fails() ? NULL : kzalloc(sizeof(*attached), GFP_KERNEL);
	struct vb3_buf *buf = dbuf->priv;
	int ret;

	if (!attached)
		return -ENOMEM;
	ret = vb3_rs_attach(RUST(buf), attachment->dev, attached->rust);
	if (ret) {
		kfree(attached);
		return ret;
	}
	attachment->priv = attached;
	/* Importers in other modules do not record their devices' use: their devices may write at any time. */
	attached->use.in_use = 1;
	/* debugfs shows the device's name. */
	get_device(attachment->dev);
	return 0;
}

static void buf_detach(struct dma_buf *dbuf, struct dma_buf_attachment *attachment)
{
	struct attached *attached = attachment->priv;

	vb3_rs_detach(RUST((struct vb3_buf *)dbuf->priv), attached->rust);
	put_device(attachment->dev);
	kfree(attached);
}

static struct sg_table *buf_map(struct dma_buf_attachment *attachment,
				enum dma_data_direction direction)
{
	struct vb3_buf *buf = attachment->dmabuf->priv;
	struct attached *attached = attachment->priv;

	return vb3_rs_map(RUST(buf), attachment->dev, attached->rust, &attached->use, direction);
}

static void buf_unmap(struct dma_buf_attachment *attachment, struct sg_table *sgt,
		      enum dma_data_direction direction)
{
	struct vb3_buf *buf = attachment->dmabuf->priv;
	struct attached *attached = attachment->priv;

	vb3_rs_unmap(RUST(buf), attached->rust);
}

static void cpu_access(struct vb3_buf *buf, enum dma_data_direction direction, bool begin)
{
	atomic_add(vb3_rs_cpu_access(RUST(buf), direction, begin), &buf->synced);
}

static int buf_begin(struct dma_buf *dbuf, enum dma_data_direction direction)
{
	cpu_access(dbuf->priv, direction, true);
	return 0;
}

static int buf_end(struct dma_buf *dbuf, enum dma_data_direction direction)
{
	cpu_access(dbuf->priv, direction, false);
	return 0;
}

static int buf_vmap(struct dma_buf *dbuf, struct iosys_map *map)
{
	void *vaddr = vb3_rs_vaddr(RUST((struct vb3_buf *)dbuf->priv));

	if (!vaddr)
		return -EINVAL;
	iosys_map_set_vaddr(map, vaddr);
	return 0;
}

static int buf_mmap(struct dma_buf *dbuf, struct vm_area_struct *vma)
{
	return vb3_op_mmap(dbuf->priv, vma);
}

static void buf_release(struct dma_buf *dbuf)
{
	vb3_drop_user(dbuf->priv, VB3_EXPORT);
}

static const struct dma_buf_ops vb3_buf_ops = {
	.attach = buf_attach,
	.detach = buf_detach,
	.map_dma_buf = buf_map,
	.unmap_dma_buf = buf_unmap,
	.begin_cpu_access = buf_begin,
	.end_cpu_access = buf_end,
	.vmap = buf_vmap,
	.mmap = buf_mmap,
	.release = buf_release,
};

/* Returns whether this module exported the dma-buf. If so, the log has the reason of a refusal already. */
bool vb3_buf_is_own(struct dma_buf *dbuf)
{
	return dbuf->ops == &vb3_buf_ops;
}

/* The record of the device's use is in the exporter's attachment. Only this module's importers read it. */
struct dma_buf_attachment *vb3_buf_attach(struct dma_buf *dbuf, struct device *dev,
					  const void *payload)
{
	struct dma_buf_attachment *attachment;
	struct vb3_use *use;

	attachment = vb3_fails() ? ERR_PTR(-ENOMEM) : dma_buf_attach(dbuf, dev);
	if (!IS_ERR(attachment) && vb3_buf_is_own(dbuf)) {
		use = BUF(payload)->use = &((struct attached *)attachment->priv)->use;
		WRITE_ONCE(use->in_use, 0);
	}
	return attachment;
}

struct dma_buf *vb3_export(const void *payload, u64 bytes, unsigned long flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct vb3_buf *buf = BUF(payload);
	struct dma_buf *dbuf;

	info.ops = &vb3_buf_ops;
	info.size = bytes;
	info.flags = flags;
	info.priv = buf;
	vb3_add_user(buf, VB3_EXPORT);
	dbuf = vb3_fails() ? ERR_PTR(-ENOMEM) : dma_buf_export(&info);
	if (!IS_ERR(dbuf))
		return dbuf;
	vb3_drop_user(buf, VB3_EXPORT);
	return NULL;
}
