// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lays one range of addresses over a mapping that is scattered behind an IOMMU. Only some kernels let
 * drivers do this; on other kernels, nothing is linked.
 *
 * The IOMMU's translation of the mapping gives the physical addresses, so any exporter's memory works.
 * The device reaches the same memory a second time, in one range. The mapping stays, and does all
 * cache maintenance.
 */
#include <linux/dma-buf.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "buffer.h"

static bool link_foreign;
module_param(link_foreign, bool, 0600);
MODULE_PARM_DESC(link_foreign, "also link dma-bufs of other drivers, without their IOMMU attributes");

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0) && IS_ENABLED(CONFIG_IOMMU_DMA)

struct vb3_link {
	struct device *dev;
	struct dma_iova_state state;
	size_t granule;		/* of the IOMMU's pages */
	size_t linked;
	enum dma_data_direction direction;
	/* The last run of memory, which is not linked yet. */
	phys_addr_t run;
	size_t run_bytes;
};

/* Without this attribute, a kernel would map other memory as if it were RAM. */
#ifdef DMA_ATTR_MMIO
#define ATTR_MMIO DMA_ATTR_MMIO
#else
#define ATTR_MMIO 0
#endif

static bool is_ram(phys_addr_t phys)
{
	return pfn_to_online_page(PHYS_PFN(phys));
}

/*
 * Returns whether the kernel would use a bounce slot for the last run. It copies a run that begins or ends
 * within a page if the device must not see other data in that page. The mapping below has its own slots,
 * and its syncs reach only those: no sync would fill or read a second slot.
 */
static bool would_bounce(const struct vb3_link *link)
{
	if (IS_ALIGNED(link->run | link->run_bytes, link->granule))
		return false;
	return (dev_is_pci(link->dev) && to_pci_dev(link->dev)->untrusted) ||
	       dma_kmalloc_needs_bounce(link->dev, link->run_bytes, link->direction);
}

/* Links the last run of memory. */
static int link_run(struct vb3_link *link)
{
	unsigned long attrs = DMA_ATTR_SKIP_CPU_SYNC;
	int ret;

	if (!link->run_bytes)
		return 0;
	if (!is_ram(link->run)) {
		if (ATTR_MMIO == 0)
			return -EINVAL;
		attrs |= ATTR_MMIO;
	}
	if (would_bounce(link))
		return -EINVAL;
	if (vb3_fails())
		return -ENOMEM;
	ret = dma_iova_link(link->dev, &link->state, link->run, link->linked, link->run_bytes,
			    link->direction, attrs);
	if (ret)
		return ret;
	link->linked += link->run_bytes;
	link->run_bytes = 0;
	return 0;
}

static int add_piece(struct vb3_link *link, phys_addr_t phys, size_t bytes)
{
	int ret;

	if (link->run_bytes && link->run + link->run_bytes == phys &&
	    is_ram(link->run) == is_ram(phys)) {
		link->run_bytes += bytes;
		return 0;
	}
	ret = link_run(link);
	link->run = phys;
	link->run_bytes = bytes;
	return ret;
}

/* Goes through the pages of the device's view. One range is possible only if no page but the first
 * begins with a gap, and none but the last ends with one. */
static int add_all(struct vb3_link *link, struct iommu_domain *domain, struct sg_table *sgt,
		   size_t bytes)
{
	struct scatterlist *sg;
	size_t done = 0;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		u64 at = sg_dma_address(sg), end = at + sg_dma_len(sg);

		while (at < end && done < bytes) {
			size_t room = link->granule - (at & (link->granule - 1));
			size_t piece = min_t(u64, room, end - at);
			phys_addr_t phys = iommu_iova_to_phys(domain, at);
			int ret;

			if (!phys || (done && room != link->granule))
				return -EINVAL;
			piece = min(piece, bytes - done);
			if (done + piece < bytes && piece != room)
				return -EINVAL;
			ret = add_piece(link, phys, piece);
			if (ret)
				return ret;
			at += piece;
			done += piece;
		}
	}
	return done == bytes ? link_run(link) : -EINVAL;
}

/* Unlinks the memory and frees the whole reservation. dma_iova_destroy() would free only the linked
 * part. */
void vb3_unlink(struct vb3_link *link)
{
	if (link->linked)
		dma_iova_unlink(link->dev, &link->state, 0, link->linked, link->direction,
				DMA_ATTR_SKIP_CPU_SYNC);
	dma_iova_free(link->dev, &link->state);
	kfree(link);
}

struct vb3_link *vb3_link(struct device *dev, struct dma_buf_attachment *attachment,
			  struct sg_table *sgt, u64 bytes, int direction, u64 *addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	struct vb3_link *link;
	phys_addr_t first;

	if (attachment && !vb3_buf_is_own(attachment->dmabuf) && !READ_ONCE(link_foreign))
		return NULL;
	/* A domain without page sizes does not translate. */
	if (!domain || !domain->pgsize_bitmap || !sgt->nents || bytes > SIZE_MAX / 2)
		return NULL;
	first = iommu_iova_to_phys(domain, sg_dma_address(sgt->sgl));
	link = vb3_fails() ? NULL : kzalloc(sizeof(*link), GFP_KERNEL);
	if (!link)
		return NULL;
	link->dev = dev;
	link->granule = 1UL << __ffs(domain->pgsize_bitmap);
	link->direction = direction;
	/* Fails if this interface does not do the translation of the device's addresses. */
	if (!dma_iova_try_alloc(dev, &link->state, first, bytes)) {
		kfree(link);
		return NULL;
	}
	if (add_all(link, domain, sgt, bytes) ||
	    dma_iova_sync(dev, &link->state, 0, link->linked)) {
		vb3_unlink(link);
		return NULL;
	}
	*addr = link->state.addr;
	return link;
}

#else

void vb3_unlink(void *link)
{
}

void *vb3_link(struct device *dev, struct dma_buf_attachment *attachment, struct sg_table *sgt,
	       u64 bytes, int direction, u64 *addr)
{
	return NULL;
}

#endif
