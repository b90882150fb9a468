// SPDX-License-Identifier: GPL-2.0-only
/* Memory operations of existing buffers, and the module's init and exit. */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/version.h>

#include <media/videobuf2-core.h>
#include <media/videobuf2-memops.h>

#include "buffer.h"
#include "vb3.h"

/*
 * Buffers with their payloads, in objects of exactly their size: kmalloc's next size is twice as large. A
 * free buffer has an unlocked mutex, which the constructor made. Kernels that clear allocated memory do not
 * clear objects that have a constructor, which saves 80 instructions.
 */
static struct kmem_cache *buffers;

static void construct(void *buf)
{
	mutex_init(&((struct vb3_buf *)buf)->lock);
}

struct vb3_buf *vb3_new_buf(struct vb2_buffer *vb)
{
	/* vb3_made, vb3_list and the payload's maker write the fields that are not written here. */
	struct vb3_buf *buf = vb3_fails() ? NULL : kmem_cache_alloc(buffers, GFP_KERNEL);

	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->vb = vb;
	buf->dma_addr = 0;
	refcount_set(&buf->users, 0);
	buf->use = NULL;
	memset(buf->kinds, 0, sizeof(buf->kinds));
	atomic_set(&buf->synced, 0);
	atomic_set(&buf->skipped, 0);
	return buf;
}

void *vb3_made(struct vb3_buf *buf, int ret, const struct vb3_request *request)
{
	if (ret < 0) {
		kmem_cache_free(buffers, buf);
		return ERR_PTR(ret);
	}
	buf->syncs = ret;
	buf->sgt = request->sgt;
	vb3_list(buf, request->dev, request->addr);
	return buf;
}

/* Ends a buffer. The payload may need the device until it has ended, so the device is released last. */
void vb3_op_end(void *priv)
{
	struct vb3_buf *buf = priv;

	vb3_unlist(buf);
	vb3_rs_end(RUST(buf));
	put_device(buf->dev);
	kmem_cache_free(buffers, buf);
}

void vb3_add_user(struct vb3_buf *buf, int kind)
{
	refcount_inc(&buf->users);
	vb3_count_user(buf, kind);
}

void vb3_count_user(struct vb3_buf *buf, int kind)
{
	struct vb3_users *users = &buf->kinds[kind];

	if (atomic_inc_return(&users->count) == 1)
		WRITE_ONCE(users->since, ktime_get_seconds());
}

/* The count in `users` decides when to free. The counts by kind are for debugfs. */
void vb3_drop_user(struct vb3_buf *buf, int kind)
{
	atomic_dec(&buf->kinds[kind].count);
	if (refcount_dec_and_test(&buf->users))
		vb3_op_end(buf);
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

unsigned int vb3_op_num_users(void *priv)
{
	return refcount_read(&((struct vb3_buf *)priv)->users);
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

static int __init vb3_init(void)
{
	buffers = kmem_cache_create(VB3_NAME, sizeof(struct vb3_buf), __alignof__(struct vb3_buf), 0,
				    construct);
	if (!buffers)
		return -ENOMEM;
	vb3_debug_init();
	return 0;
}

/* If one of the first counters is not zero, something leaked. */
static void __exit vb3_exit(void)
{
	s64 held[VB3_HELD], all = 0;
	size_t i;

	for (i = 0; i < VB3_HELD; i++)
		all |= held[i] = atomic64_read(&vb3_rs_counts[i]);
	vb3_debug_exit();
	kmem_cache_destroy(buffers);
	if (!all)
		pr_info(VB3_NAME ": unloaded, nothing held\n");
	else
		pr_err(VB3_NAME ": unloaded with %lld bytes, %lld allocations, %lld attachments, %lld mappings held\n",
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
