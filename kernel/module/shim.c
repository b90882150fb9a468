// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C side of videobuf2-dma-contig: entry points, and accessors for whatever a kernel may
 * inline or lay out differently. Nothing is decided here.
 */
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/version.h>

#include <media/frame_vector.h>
#include <media/videobuf2-core.h>
#include <media/videobuf2-memops.h>

#include "buffer.h"
#include "vb3.h"

/*
 * Failures on purpose, for tests: each Nth call that can fail does. Who may write it may load
 * modules as well.
 */
static unsigned int fail_every;
module_param(fail_every, uint, 0600);
MODULE_PARM_DESC(fail_every, "debug: let each Nth step that can fail do so (0: none)");
static atomic_t fail_steps = ATOMIC_INIT(0);
static unsigned int fail_at;
module_param(fail_at, uint, 0600);
MODULE_PARM_DESC(fail_at, "debug: let the Nth step from now that can fail do so (0: none)");

bool vb3_fails(void)
{
	unsigned int every = READ_ONCE(fail_every), at = READ_ONCE(fail_at);

	if (unlikely(at)) {
		WRITE_ONCE(fail_at, at - 1);
		if (at == 1)
			return true;
	}
	return unlikely(every) && (unsigned int)atomic_inc_return(&fail_steps) % every == 0;
}

/* Memory. */

void *vb3_alloc(size_t bytes)
{
	return vb3_fails() ? NULL : kmalloc(bytes, GFP_KERNEL);
}

void vb3_free(void *at)
{
	kfree(at);
}

/* Bytes of a buffer with its payload. */
static size_t buf_bytes __ro_after_init;

static struct vb3_buf *new_buf(struct vb2_buffer *vb)
{
	/* The payload is written before it is read. */
	struct vb3_buf *buf = vb3_fails() ? NULL : kmalloc(buf_bytes, GFP_KERNEL);

	if (!buf)
		return NULL;
	buf->vb = vb;
	buf->dma_addr = 0;
	refcount_set(&buf->users, 0);
	atomic_set(&buf->synced, 0);
	atomic_set(&buf->skipped, 0);
	return buf;
}

void vb3_lock(const void *payload)
{
	mutex_lock(&BUF(payload)->lock);
}

void vb3_unlock(const void *payload)
{
	mutex_unlock(&BUF(payload)->lock);
}

/* Devices. */

unsigned int vb3_page_size(void)
{
	return PAGE_SIZE;
}

u64 vb3_now_ns(void)
{
	return ktime_get_coarse_ns();
}

void vb3_get_device(struct device *dev)
{
	get_device(dev);
}

void vb3_put_device(struct device *dev)
{
	put_device(dev);
}

unsigned int vb3_cache_alignment(void)
{
	return dma_get_cache_alignment();
}

/* Bytes beyond which an allocation is not tried: it would only take all memory from others. */
u64 vb3_size_limit(struct device *dev)
{
#ifdef CONFIG_DMA_DECLARE_COHERENT
	if (dev->dma_mem)
		return U64_MAX;
#endif
	return (u64)max(si_mem_available(), 0L) << PAGE_SHIFT;
}

u64 vb3_dma_mask(struct device *dev)
{
	return dma_get_mask(dev);
}

/* Allocation. No warnings, no OOM killer: a refusal is an answer. */

#define VB3_GFP (GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)
#define VB3_ZONES (__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM | __GFP_COMP)

void *vb3_alloc_coherent(struct device *dev, size_t bytes, unsigned int gfp, unsigned long attrs,
			 u64 *addr)
{
	dma_addr_t at = 0;
	void *cookie = NULL;

	if (!vb3_fails())
		cookie = dma_alloc_attrs(dev, bytes, &at, VB3_GFP | (__force gfp_t)gfp, attrs);
	*addr = at;
	return cookie;
}

void vb3_free_coherent(struct device *dev, size_t bytes, void *cookie, u64 addr,
		       unsigned long attrs)
{
	dma_free_attrs(dev, bytes, cookie, addr, attrs);
}

int vb3_mmap_coherent(struct device *dev, struct vm_area_struct *vma, void *cookie, u64 addr,
		      size_t bytes, unsigned long attrs)
{
	return dma_mmap_attrs(dev, vma, cookie, addr, bytes, attrs);
}

/* Whether all of a table's entries have pages. What has none got its page by arithmetic. */
static bool has_pages(struct sg_table *sgt)
{
	struct scatterlist *at;
	unsigned int i;

	for_each_sgtable_sg(sgt, at, i)
		if (!pfn_valid(page_to_pfn(sg_page(at))))
			return false;
	return true;
}

/*
 * Makes of a table with one entry, whose page is none, a table without pages, if what it says and
 * the device's address agree on where the memory is; U64_MAX if they do not.
 */
static u64 without_pages(struct device *dev, struct sg_table *sgt, u64 addr, size_t bytes)
{
	u64 phys = sg_phys(sgt->sgl);

	if (sgt->orig_nents != 1 || bytes > UINT_MAX || phys != dma_to_phys(dev, addr))
		return U64_MAX;
	sg_set_page(sgt->sgl, NULL, bytes, 0);
	return phys;
}

/* *phys stays as it is for memory with pages, and is where memory without pages is. */
struct sg_table *vb3_get_sgtable(struct device *dev, void *cookie, u64 addr, size_t bytes,
				 unsigned long attrs, u64 *phys)
{
	struct sg_table *sgt = vb3_fails() ? NULL : kzalloc(sizeof(*sgt), GFP_KERNEL);

	if (!sgt)
		return NULL;
	if (dma_get_sgtable_attrs(dev, sgt, cookie, addr, bytes, attrs) < 0)
		goto free;
	if (has_pages(sgt))
		return sgt;
	*phys = without_pages(dev, sgt, addr, bytes);
	if (*phys != U64_MAX)
		return sgt;
	sg_free_table(sgt);
free:
	kfree(sgt);
	return NULL;
}

/* Zone wishes make this call warn and fail; the device's mask says the same. */
struct sg_table *vb3_alloc_noncontiguous(struct device *dev, size_t bytes, int direction,
					 unsigned int gfp, unsigned long attrs)
{
	gfp_t flags = (VB3_GFP | __GFP_ZERO | (__force gfp_t)gfp) & ~VB3_ZONES;

	return vb3_fails() ? NULL : dma_alloc_noncontiguous(dev, bytes, direction, flags, attrs);
}

void vb3_free_noncontiguous(struct device *dev, size_t bytes, struct sg_table *sgt, int direction)
{
	dma_free_noncontiguous(dev, bytes, sgt, direction);
}

int vb3_mmap_noncontiguous(struct device *dev, struct vm_area_struct *vma, size_t bytes,
			   struct sg_table *sgt)
{
	return dma_mmap_noncontiguous(dev, vma, bytes, sgt);
}

void *vb3_vmap_noncontiguous(struct device *dev, size_t bytes, struct sg_table *sgt)
{
	return vb3_fails() ? NULL : dma_vmap_noncontiguous(dev, bytes, sgt);
}

void vb3_vunmap_noncontiguous(struct device *dev, void *vaddr)
{
	dma_vunmap_noncontiguous(dev, vaddr);
}

/* Hands memory over, with the alias that a kernel mapping of it may be. */
void vb3_sync(struct device *dev, struct sg_table *sgt, int direction, bool for_cpu, void *vaddr,
	      size_t bytes)
{
	if (for_cpu) {
		if (vaddr)
			invalidate_kernel_vmap_range(vaddr, bytes);
		dma_sync_sgtable_for_cpu(dev, sgt, direction);
	} else {
		if (vaddr)
			flush_kernel_vmap_range(vaddr, bytes);
		dma_sync_sgtable_for_device(dev, sgt, direction);
	}
}

/* User memory. */

void vb3_sgt_free(struct sg_table *sgt)
{
	sg_free_table(sgt);
	kfree(sgt);
}

struct frame_vector *vb3_pin(u64 addr, u64 bytes, bool write, struct sg_table **to)
{
	struct frame_vector *pinned;
	struct sg_table *sgt;
	int ret;

	if (vb3_fails())
		return ERR_PTR(-ENOMEM);
	if (addr > ULONG_MAX || bytes > ULONG_MAX)
		return ERR_PTR(-EFAULT);
	pinned = vb2_create_framevec(addr, bytes, write);
	if (IS_ERR(pinned))
		return pinned;
	ret = frame_vector_to_pages(pinned);
	if (ret < 0)
		goto unpin;
	ret = -ENOMEM;
	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		goto unpin;
	ret = sg_alloc_table_from_pages(sgt, frame_vector_pages(pinned),
					frame_vector_count(pinned), offset_in_page(addr), bytes,
					GFP_KERNEL);
	if (ret)
		goto free;
	*to = sgt;
	return pinned;
free:
	kfree(sgt);
unpin:
	vb2_destroy_framevec(pinned);
	return ERR_PTR(ret);
}

void vb3_unpin(struct frame_vector *pinned, struct sg_table *sgt, bool dirty)
{
	unsigned int i;

	if (dirty) {
		struct page **pages = frame_vector_pages(pinned);

		if (!IS_ERR(pages))
			for (i = 0; i < frame_vector_count(pinned); i++)
				set_page_dirty_lock(pages[i]);
	}
	vb3_sgt_free(sgt);
	vb2_destroy_framevec(pinned);
}

/* Scatter tables. */

struct sg_table *vb3_sgt_copy(struct sg_table *from)
{
	struct sg_table *sgt = vb3_fails() ? NULL : kzalloc(sizeof(*sgt), GFP_KERNEL);
	struct scatterlist *rd = from->sgl;
	struct scatterlist *wr;
	unsigned int i;

	if (!sgt)
		return NULL;
	if (sg_alloc_table(sgt, from->orig_nents, GFP_KERNEL)) {
		kfree(sgt);
		return NULL;
	}
	for_each_sgtable_sg(sgt, wr, i) {
		sg_set_page(wr, sg_page(rd), rd->length, rd->offset);
		rd = sg_next(rd);
	}
	return sgt;
}

int vb3_sgt_map(struct device *dev, struct sg_table *sgt, int direction, bool skip)
{
	if (vb3_fails())
		return -EIO;
	return dma_map_sgtable(dev, sgt, direction, skip ? DMA_ATTR_SKIP_CPU_SYNC : 0);
}

void vb3_sgt_unmap(struct device *dev, struct sg_table *sgt, int direction, bool skip)
{
	dma_unmap_sgtable(dev, sgt, direction, skip ? DMA_ATTR_SKIP_CPU_SYNC : 0);
}

/* Maps a table of one entry without a page. */
int vb3_map_resource(struct device *dev, struct sg_table *sgt, u64 phys, int direction)
{
	dma_addr_t at;

	if (vb3_fails())
		return -EIO;
	at = dma_map_resource(dev, phys, sgt->sgl->length, direction, 0);
	if (dma_mapping_error(dev, at))
		return -EIO;
	sg_dma_address(sgt->sgl) = at;
	sg_dma_len(sgt->sgl) = sgt->sgl->length;
	sgt->nents = 1;
	return 0;
}

void vb3_unmap_resource(struct device *dev, struct sg_table *sgt, int direction)
{
	dma_unmap_resource(dev, sg_dma_address(sgt->sgl), sg_dma_len(sgt->sgl), direction, 0);
}

/*
 * Segment `index` of a mapped table, if there is one. *at and *known say where an earlier call
 * stood, NULL where there was none.
 */
bool vb3_sgt_segment(struct sg_table *sgt, unsigned int index, struct scatterlist **at,
		     unsigned int *known, u64 *addr, unsigned int *bytes)
{
	if (index >= sgt->nents)
		return false;
	if (!*at || *known > index) {
		*at = sgt->sgl;
		*known = 0;
	}
	for (; *known < index; ++*known)
		*at = sg_next(*at);
	*addr = sg_dma_address(*at);
	*bytes = sg_dma_len(*at);
	return true;
}

/* The highest physical address in the table. */
u64 vb3_sgt_top(struct sg_table *sgt)
{
	struct scatterlist *at;
	unsigned int i;
	u64 top = 0;

	for_each_sgtable_sg(sgt, at, i)
		top = max_t(u64, top, sg_phys(at) + at->length - 1);
	return top;
}

/* Other people's dma-bufs. */

u64 vb3_buf_size(struct dma_buf *buf)
{
	return buf->size;
}

struct dma_buf_attachment *vb3_buf_attach(struct dma_buf *buf, struct device *dev)
{
	return vb3_fails() ? ERR_PTR(-ENOMEM) : dma_buf_attach(buf, dev);
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

int vb3_buf_begin(struct dma_buf *buf, int direction)
{
	return dma_buf_begin_cpu_access(buf, direction);
}

int vb3_buf_end(struct dma_buf *buf, int direction)
{
	return dma_buf_end_cpu_access(buf, direction);
}

void *vb3_buf_vmap(struct dma_buf *buf)
{
	struct iosys_map map;

	if (vb3_fails() || dma_buf_vmap_unlocked(buf, &map))
		return NULL;
	return map.vaddr;
}

void vb3_buf_vunmap(struct dma_buf *buf, void *vaddr)
{
	struct iosys_map map = IOSYS_MAP_INIT_VADDR(vaddr);

	dma_buf_vunmap_unlocked(buf, &map);
}

/* Our own dma-bufs. */

static int buf_attach(struct dma_buf *dbuf, struct dma_buf_attachment *attachment)
{
	u64 key = 0;
	int ret = vb3_rs_attach(RUST((struct vb3_buf *)dbuf->priv), attachment->dev, &key);

	attachment->priv = (void *)(unsigned long)key;
	return ret;
}

static u64 key_of(struct dma_buf_attachment *attachment)
{
	return (unsigned long)attachment->priv;
}

static void buf_detach(struct dma_buf *dbuf, struct dma_buf_attachment *attachment)
{
	vb3_rs_detach(RUST((struct vb3_buf *)dbuf->priv), key_of(attachment));
}

static struct sg_table *buf_map(struct dma_buf_attachment *attachment,
				enum dma_data_direction direction)
{
	struct vb3_buf *buf = attachment->dmabuf->priv;

	return vb3_rs_map(RUST(buf), key_of(attachment), direction);
}

static void buf_unmap(struct dma_buf_attachment *attachment, struct sg_table *sgt,
		      enum dma_data_direction direction)
{
	struct vb3_buf *buf = attachment->dmabuf->priv;

	vb3_rs_unmap(RUST(buf), key_of(attachment));
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

static void add_user(struct vb3_buf *buf, int kind)
{
	refcount_inc(&buf->users);
	vb3_rs_add_user(RUST(buf), kind);
}

/* The count decides, not the list of users behind the mutex: who frees must not be inside it. */
static void drop_user(struct vb3_buf *buf, int kind)
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

static void buf_release(struct dma_buf *dbuf)
{
	drop_user(dbuf->priv, VB3_EXPORT);
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

struct dma_buf *vb3_export(const void *payload, u64 bytes, unsigned long flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dbuf;

	info.ops = &vb3_buf_ops;
	info.size = bytes;
	info.flags = flags;
	info.priv = BUF(payload);
	add_user(info.priv, VB3_EXPORT);
	dbuf = vb3_fails() ? ERR_PTR(-ENOMEM) : dma_buf_export(&info);
	if (!IS_ERR(dbuf))
		return dbuf;
	drop_user(info.priv, VB3_EXPORT);
	return NULL;
}

/* Memory operations of a queue. */

void *vb3_op_alloc(struct vb2_buffer *vb, struct device *dev, unsigned long size)
{
	struct vb2_queue *q = vb->vb2_queue;
	struct vb3_buf *buf;
	u64 addr = 0;
	int ret;

	if (WARN_ON(!dev))
		return ERR_PTR(-EINVAL);
	buf = new_buf(vb);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	mutex_init(&buf->lock);
	ret = vb3_rs_alloc(RUST(buf), dev, size, q->dma_dir, (__force unsigned int)q->gfp_flags,
			   q->dma_attrs, q->non_coherent_mem, &addr);
	if (ret < 0) {
		kfree(buf);
		return ERR_PTR(ret);
	}
	buf->is_handed_over = ret;
	refcount_set(&buf->users, 1);
	vb3_list(buf, dev, addr);
	return buf;
}

void vb3_op_put(void *priv)
{
	drop_user(priv, VB3_PLANE);
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
	add_user(vma->vm_private_data, VB3_MAPPING);
}

static void vma_close(struct vm_area_struct *vma)
{
	drop_user(vma->vm_private_data, VB3_MAPPING);
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
	struct vb3_buf *buf;
	u64 addr = 0;
	int ret;

	if (WARN_ON(!dev))
		return ERR_PTR(-EINVAL);
	buf = new_buf(vb);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	/* Nobody locks user memory. */
	ret = vb3_rs_get_userptr(RUST(buf), dev, vaddr, size, vb->vb2_queue->dma_dir, &addr);
	if (ret < 0) {
		kfree(buf);
		return ERR_PTR(ret);
	}
	buf->is_handed_over = ret;
	vb3_list(buf, dev, addr);
	return buf;
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
	struct vb3_buf *buf;
	int ret;

	if (WARN_ON(!dev))
		return ERR_PTR(-EINVAL);
	buf = new_buf(vb);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	/* Another class than the exporter's, which is taken below it. */
	mutex_init(&buf->lock);
	ret = vb3_rs_import(RUST(buf), dev, dbuf, size, vb->vb2_queue->dma_dir);
	if (ret < 0) {
		kfree(buf);
		return ERR_PTR(ret);
	}
	buf->is_handed_over = ret;
	vb3_list(buf, dev, 0);
	return buf;
}

int vb3_op_map_dmabuf(void *priv)
{
	struct vb3_buf *buf = priv;
	u64 addr = 0;
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
