// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions for the Rust object, for everything that kernels may inline or lay out differently. They make
 * no decisions.
 */
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include <media/frame_vector.h>
#include <media/videobuf2-memops.h>

#include "buffer.h"
#include "older.h"

#ifdef VB3_FAILS
/* Deliberate failures in the lab's modules: every Nth step that can fail does. */
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
#endif

/* Numbers that src/ repeats. */
static_assert(DMA_BIDIRECTIONAL == 0 && DMA_TO_DEVICE == 1 && DMA_FROM_DEVICE == 2);
static_assert(DMA_ATTR_WRITE_COMBINE == BIT(2) && DMA_ATTR_NO_KERNEL_MAPPING == BIT(4));
static_assert(DMA_ATTR_FORCE_CONTIGUOUS == BIT(6) && DMA_ATTR_ALLOC_SINGLE_PAGES == BIT(7));
static_assert(DMA_ATTR_NO_WARN == BIT(8) && MAX_ERRNO == 4095);
static_assert(__alignof__(struct vb3_buf) >= 8);

/* Locks. */

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

unsigned int vb3_cache_alignment(void)
{
	return dma_get_cache_alignment();
}

/* Returns whether the CPU caches a device's coherent memory. If not, it must not be mapped cached. */
bool vb3_caches_coherent(struct device *dev)
{
#ifdef CONFIG_DMA_DECLARE_COHERENT
	if (dev->dma_mem)
		return false;
#endif
	return dev_is_dma_coherent(dev);
}

/* Returns the length above which allocations are not tried: they would take all memory from others. A
 * small one is always tried. */
u64 vb3_size_limit(struct device *dev, u64 bytes)
{
	long anon, swappable;

	if (bytes <= SZ_16M)
		return SZ_16M;
#ifdef CONFIG_DMA_DECLARE_COHERENT
	if (dev && dev->dma_mem)
		return U64_MAX;
#endif
	anon = global_node_page_state(NR_ACTIVE_ANON) + global_node_page_state(NR_INACTIVE_ANON);
	swappable = min_t(long, anon, get_nr_swap_pages());
	return (u64)(max(si_mem_available(), 0L) + max(swappable, 0L)) << PAGE_SHIFT;
}

u64 vb3_dma_mask(struct device *dev)
{
	return dma_get_mask(dev);
}

/* Allocation. */

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

void vb3_memory_free(const struct vb3_memory *m)
{
	if (m->kind == VB3_COHERENT)
		dma_free_attrs(m->dev, m->bytes, m->at, m->addr, m->attrs);
	else if (m->kind == VB3_NON_COHERENT)
		vb3_free_noncontiguous(m);
	else
		vfree(m->at);
}

/* The VMA's offset is the number of the first page to map. */
int vb3_memory_mmap(const struct vb3_memory *m, struct vm_area_struct *vma)
{
	if (m->kind == VB3_COHERENT)
		return dma_mmap_attrs(m->dev, vma, m->at, m->addr, m->bytes, m->attrs);
	if (m->kind == VB3_NON_COHERENT)
		return vb3_mmap_noncontiguous(m, vma);
	return remap_vmalloc_range(vma, m->at, vma->vm_pgoff);
}

bool vb3_has_page(unsigned long pfn)
{
	return pfn_valid(pfn);
}

/* Returns whether all entries of a table have real pages. */
static bool has_pages(struct sg_table *sgt)
{
	struct scatterlist *at;
	unsigned int i;

	for_each_sgtable_sg(sgt, at, i)
		if (!vb3_has_page(page_to_pfn(sg_page(at))))
			return false;
	return true;
}

/*
 * Converts a table with one entry and an invalid page into a table without pages, if the entry and the
 * device's address stand for the same physical address. Returns that address, or U64_MAX.
 */
static u64 without_pages(struct device *dev, struct sg_table *sgt, u64 addr, size_t bytes)
{
	u64 phys = sg_phys(sgt->sgl);

	if (sgt->orig_nents != 1 || bytes > UINT_MAX || phys != dma_to_phys(dev, addr))
		return U64_MAX;
	sg_set_page(sgt->sgl, NULL, bytes, 0);
	return phys;
}

/* If the memory has no pages, sets *phys to its physical address. Otherwise leaves *phys unchanged. */
struct sg_table *vb3_memory_table(const struct vb3_memory *m, u64 *phys)
{
	struct sg_table *sgt;

	if (m->kind == VB3_NON_COHERENT)
		return m->at;
	if (m->kind == VB3_VIRTUAL)
		return vb3_virtual_table(m);
	sgt = vb3_fails() ? NULL : kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		return NULL;
	if (dma_get_sgtable_attrs(m->dev, sgt, m->at, m->addr, m->bytes, m->attrs) < 0)
		goto free;
	if (has_pages(sgt))
		return sgt;
	*phys = without_pages(m->dev, sgt, m->addr, m->bytes);
	if (*phys != U64_MAX)
		return sgt;
	sg_free_table(sgt);
free:
	kfree(sgt);
	return NULL;
}

/* Returns the length of a table's kernel mapping. Most kernels do not need it. */
static size_t mapped_bytes(struct sg_table *sgt)
{
	size_t bytes = 0;
#ifdef ARCH_IMPLEMENTS_FLUSH_KERNEL_VMAP_RANGE
	struct scatterlist *at;
	unsigned int i;

	for_each_sgtable_sg(sgt, at, i)
		bytes += at->length;
#endif
	return bytes;
}

/* Syncs a table for a hand-over, with the kernel mapping of the same memory at vaddr, if any. */
void vb3_sync(struct device *dev, struct sg_table *sgt, int direction, bool for_cpu, void *vaddr)
{
	if (for_cpu) {
		if (vaddr)
			invalidate_kernel_vmap_range(vaddr, mapped_bytes(sgt));
		dma_sync_sgtable_for_cpu(dev, sgt, direction);
	} else {
		if (vaddr)
			flush_kernel_vmap_range(vaddr, mapped_bytes(sgt));
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

/* Returns whether a device uses a bounced copy of the memory. Behind an IOMMU, whole pages never bounce. */
bool vb3_sgt_bounces(struct device *dev, struct sg_table *sgt)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	struct scatterlist *at;
	unsigned int i;

	if (domain && domain->type & __IOMMU_DOMAIN_PAGING)
		return false;
	for_each_sgtable_sg(sgt, at, i)
		if (dma_to_phys(dev, sg_dma_address(at)) != sg_phys(at))
			return true;
	return false;
}

/*
 * Maps a table with one entry that has no page. Without address translation, this refuses an address that
 * the device does not reach. The kernel would refuse it, too, but with a warning.
 */
int vb3_map_resource(struct device *dev, struct sg_table *sgt, u64 phys, int direction)
{
	u64 last = min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
	dma_addr_t at;

	if (vb3_fails() || (!device_iommu_mapped(dev) && phys + sgt->sgl->length - 1 > last))
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

/* Moves *at from the entry before `index` of a mapped table to entry `index`. Returns false past the end. */
bool vb3_sgt_next(struct sg_table *sgt, size_t index, struct scatterlist **at, u64 *addr,
		  unsigned int *bytes)
{
	if (index >= sgt->nents)
		return false;
	*at = index ? sg_next(*at) : sgt->sgl;
	*addr = sg_dma_address(*at);
	*bytes = sg_dma_len(*at);
	return true;
}

/* Returns the highest physical address in the table. */
u64 vb3_sgt_top(struct sg_table *sgt)
{
	struct scatterlist *at;
	unsigned int i;
	u64 top = 0;

	for_each_sgtable_sg(sgt, at, i)
		top = max_t(u64, top, sg_phys(at) + at->length - 1);
	return top;
}
