// SPDX-License-Identifier: GPL-2.0-only
/* Memory operations of a queue, and the module itself. */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/version.h>

#include <media/videobuf2-core.h>
#include <media/videobuf2-memops.h>

#include "buffer.h"
#include "vb3.h"

/* Bytes of a buffer with its payload. */
static size_t buf_bytes __ro_after_init;

static struct vb3_buf *new_buf(struct vb2_buffer *vb, struct device *dev)
{
	struct vb3_buf *buf;

	if (WARN_ON(!dev))
		return ERR_PTR(-EINVAL);
	/* The payload is written before it is read. */
	buf = vb3_fails() ? NULL : kmalloc(buf_bytes, GFP_KERNEL);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->vb = vb;
	buf->dma_addr = 0;
	refcount_set(&buf->users, 0);
	atomic_set(&buf->synced, 0);
	atomic_set(&buf->skipped, 0);
	return buf;
}

/* What the Rust object made of a new buffer, by what it returned. */
static void *made(struct vb3_buf *buf, int ret, struct device *dev, u64 addr)
{
	if (ret < 0) {
		kfree(buf);
		return ERR_PTR(ret);
	}
	buf->is_handed_over = ret;
	vb3_list(buf, dev, addr);
	return buf;
}

void vb3_add_user(struct vb3_buf *buf, int kind)
{
	refcount_inc(&buf->users);
	vb3_rs_add_user(RUST(buf), kind);
}

/* The count decides, not the list of users behind the mutex: who frees must not be inside it. */
void vb3_drop_user(struct vb3_buf *buf, int kind)
{
	/* Of the last one the list need not be told, for it goes as well. */
	if (refcount_read(&buf->users) > 1)
		vb3_rs_drop_user(RUST(buf), kind);
	if (!refcount_dec_and_test(&buf->users))
		return;
	vb3_unlist(buf);
	vb3_rs_release(RUST(buf));
	kfree(buf);
}

void *vb3_op_alloc(struct vb2_buffer *vb, struct device *dev, unsigned long size)
{
	struct vb2_queue *q = vb->vb2_queue;
	struct vb3_buf *buf = new_buf(vb, dev);
	u64 addr = 0;
	int ret;

	if (IS_ERR(buf))
		return buf;
	mutex_init(&buf->lock);
	refcount_set(&buf->users, 1);
	ret = vb3_rs_alloc(RUST(buf), dev, size, q->dma_dir, (__force unsigned int)q->gfp_flags,
			   q->dma_attrs, q->non_coherent_mem, &addr);
	return made(buf, ret, dev, addr);
}

void vb3_op_put(void *priv)
{
	vb3_drop_user(priv, VB3_PLANE);
}

struct dma_buf *vb3_op_get_dmabuf(struct vb2_buffer *vb, void *priv, unsigned long flags)
{
	return vb3_rs_export(RUST((struct vb3_buf *)priv), flags);
}

void *vb3_op_vaddr(struct vb2_buffer *vb, void *priv)
{
	return vb3_rs_vaddr(RUST((struct vb3_buf *)priv));
}

void *vb3_op_cookie(struct vb2_buffer *vb, void *priv)
{
	return &((struct vb3_buf *)priv)->dma_addr;
}

unsigned int vb3_op_num_users(void *priv)
{
	return refcount_read(&((struct vb3_buf *)priv)->users);
}

static void hand_over(struct vb3_buf *buf, bool to_device, bool skip)
{
	int done;

	if (!buf->is_handed_over)
		return;
	done = vb3_rs_hand_over(RUST(buf), to_device, skip);
	if (done > 0)
		atomic_inc(&buf->synced);
	else if (done < 0)
		atomic_inc(&buf->skipped);
}

void vb3_op_prepare(void *priv)
{
	struct vb3_buf *buf = priv;

	hand_over(buf, true, buf->vb->skip_cache_sync_on_prepare);
}

void vb3_op_finish(void *priv)
{
	struct vb3_buf *buf = priv;

	hand_over(buf, false, buf->vb->skip_cache_sync_on_finish);
}

static void vma_open(struct vm_area_struct *vma)
{
	vb3_add_user(vma->vm_private_data, VB3_MAPPING);
}

static void vma_close(struct vm_area_struct *vma)
{
	vb3_drop_user(vma->vm_private_data, VB3_MAPPING);
}

static const struct vm_operations_struct vb3_vm_ops = {
	.open = vma_open,
	.close = vma_close,
};

int vb3_op_mmap(void *priv, struct vm_area_struct *vma)
{
	struct vb3_buf *buf = priv;
	int ret;

	if (!buf)
		return -EINVAL;
	ret = vb3_rs_mmap(RUST(buf), vma, (u64)vma->vm_pgoff << PAGE_SHIFT,
			  vma->vm_end - vma->vm_start);
	if (ret)
		return ret;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = buf;
	vma->vm_ops = &vb3_vm_ops;
	vma_open(vma);
	return 0;
}

void *vb3_op_get_userptr(struct vb2_buffer *vb, struct device *dev, unsigned long vaddr,
			 unsigned long size)
{
	struct vb3_buf *buf = new_buf(vb, dev);
	u64 addr = 0;
	int ret;

	if (IS_ERR(buf))
		return buf;
	/* Nobody locks user memory. */
	ret = vb3_rs_get_userptr(RUST(buf), dev, vaddr, size, vb->vb2_queue->dma_dir, &addr);
	return made(buf, ret, dev, addr);
}

void vb3_op_put_userptr(void *priv)
{
	struct vb3_buf *buf = priv;

	vb3_unlist(buf);
	vb3_rs_put_userptr(RUST(buf));
	kfree(buf);
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
	ret = vb3_rs_import(RUST(buf), dev, dbuf, size, vb->vb2_queue->dma_dir);
	return made(buf, ret, dev, 0);
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

void vb3_op_detach_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;

	vb3_unlist(buf);
	vb3_rs_import_detach(RUST(buf));
	kfree(buf);
}

static int __init vb3_init(void)
{
	buf_bytes = sizeof(struct vb3_buf) + vb3_rs_bytes();
	return vb3_debug_init();
}

/* The numbers are those of src/ledger.rs: all zero, or something was leaked. */
static void __exit vb3_exit(void)
{
	s64 held[4] = {};

	vb3_debug_exit();
	if (vb3_rs_is_idle(held))
		pr_info("vb2-dma-contig: unloaded, nothing held\n");
	else
		pr_err("vb2-dma-contig: unloaded with %lld bytes, %lld allocations, %lld attachments, %lld mappings held\n",
		       held[0], held[1], held[2], held[3]);
}

module_init(vb3_init);
module_exit(vb3_exit);

MODULE_DESCRIPTION("DMA-contig memory handling for videobuf2, in Rust (videobuf3)");
MODULE_AUTHOR("videobuf3");
MODULE_LICENSE("GPL");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif
