// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions for the Rust object, for everything that kernels may inline or lay out differently. They make
 * no decisions.
 */
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/swiotlb.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include <media/frame_vector.h>
#include <media/videobuf2-memops.h>

#include "buffer.h"

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

unsigned int vb3_page_shift(void)
{
	return PAGE_SHIFT;
}

u64 vb3_now_ns(void)
{
	return ktime_get_coarse_ns();
}

unsigned int vb3_cache_alignment(void)
{
	return dma_get_cache_alignment();
}

/* Returns whether all coherent memory of a device comes from a pool of its own. */
bool vb3_has_pool(struct device *dev)
{
#ifdef CONFIG_DMA_DECLARE_COHERENT
	return dev->dma_mem;
#else
	return false;
#endif
}

/* Returns whether the CPU caches the coherent memory of a device without a pool. If not, it must not be
 * mapped cached. */
bool vb3_caches_coherent(struct device *dev)
{
	return dev_is_dma_coherent(dev);
}

/* Returns the length above which the module does not try an allocation, because it would take all memory from
 * other users. A small allocation is always tried. */
u64 vb3_size_limit(struct device *dev, u64 bytes)
{
	long anon, swappable;

	if (bytes <= SZ_16M)
		return SZ_16M;
	if (vb3_has_pool(dev))
		return U64_MAX;
	anon = global_node_page_state(NR_ACTIVE_ANON) + global_node_page_state(NR_INACTIVE_ANON);
	swappable = min_t(long, anon, get_nr_swap_pages());
	return (u64)(max(si_mem_available(), 0L) + max(swappable, 0L)) << PAGE_SHIFT;
}

/* Returns whether the device's addresses are an IOMMU's. The IOMMU reaches all memory. */
bool vb3_is_translated(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && domain->type & __IOMMU_DOMAIN_PAGING;
}

static u64 last_dma_address(struct device *dev)
{
	return vb3_is_translated(dev) ? U64_MAX : min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
}

/* Returns the last physical address that the device reaches. */
u64 vb3_last_address(struct device *dev)
{
	return vb3_is_translated(dev) ? U64_MAX : dma_to_phys(dev, last_dma_address(dev));
}

/* Caches of x86-64 and arm64 see a kernel mapping and the memory itself alike, so no mapping is flushed. */
void vb3_sync(struct device *dev, struct sg_table *sgt, int direction, bool for_cpu)
{
	if (for_cpu)
		dma_sync_sgtable_for_cpu(dev, sgt, direction);
	else
		dma_sync_sgtable_for_device(dev, sgt, direction);
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

/* Maps a program's memory for the kernel. Returns the address of its first byte. */
void *vb3_pinned_map(struct frame_vector *pinned, struct sg_table *sgt)
{
	void *at = NULL;

	if (!vb3_fails())
		at = vm_map_ram(frame_vector_pages(pinned), frame_vector_count(pinned), -1);
	return at ? at + sgt->sgl->offset : NULL;
}

void vb3_pinned_unmap(struct frame_vector *pinned, void *at)
{
	vm_unmap_ram((void *)((unsigned long)at & PAGE_MASK), frame_vector_count(pinned));
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

/* Returns whether the kernel would map a copy of the memory. */
static bool must_bounce(struct device *dev, struct sg_table *sgt)
{
	struct scatterlist *at;
	unsigned int i;

	if (vb3_is_translated(dev))
		return false;
	if (is_swiotlb_force_bounce(dev))
		return true;
	for_each_sgtable_sg(sgt, at, i) {
		dma_addr_t first = phys_to_dma(dev, sg_phys(at));

		if (first == DMA_MAPPING_ERROR || first + at->length - 1 > last_dma_address(dev))
			return true;
	}
	return false;
}

int vb3_sgt_map(struct device *dev, struct sg_table *sgt, int direction, bool skip, bool may_bounce)
{
	if (vb3_fails() || (!may_bounce && must_bounce(dev, sgt)))
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
	struct scatterlist *at;
	unsigned int i;

	if (vb3_is_translated(dev))
		return false;
	for_each_sgtable_sg(sgt, at, i)
		if (dma_to_phys(dev, sg_dma_address(at)) != sg_phys(at))
			return true;
	return false;
}

/*
 * Maps a table with one entry that has no page. Refuses an address that the device does not reach. The
 * kernel would refuse it, too, but with a warning.
 */
int vb3_map_resource(struct device *dev, struct sg_table *sgt, u64 phys, int direction)
{
	dma_addr_t at;

	if (vb3_fails() || phys + sgt->sgl->length - 1 > last_dma_address(dev))
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
