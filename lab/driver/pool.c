// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices to allocate for. They move no bytes; the edu device does, by import.
 *
 * x86 kernels are built without declared coherent memory. This stands for it: DMA operations that
 * hand out pieces of the RAM behind ivshmem's BAR, which has no pages, and that describe them as
 * the kernel's direct mapping describes all memory, by a page found by arithmetic.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/genalloc.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/platform_device.h>

#include "pool.h"

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define IVSHMEM_RAM 2

static struct platform_device *pool_device, *far_device;
static struct pci_dev *ivshmem;
static struct gen_pool *pieces;
static void *view;

static void *pool_alloc(struct device *dev, size_t size, dma_addr_t *at, gfp_t gfp,
			unsigned long attrs)
{
	void *piece = gen_pool_dma_alloc(pieces, PAGE_ALIGN(size), at);

	if (piece)
		memset(piece, 0, size);
	return piece;
}

static void pool_free(struct device *dev, size_t size, void *piece, dma_addr_t at,
		      unsigned long attrs)
{
	gen_pool_free(pieces, (unsigned long)piece, PAGE_ALIGN(size));
}

static int pool_mmap(struct device *dev, struct vm_area_struct *vma, void *piece, dma_addr_t at,
		     size_t size, unsigned long attrs)
{
	return vm_iomap_memory(vma, at, PAGE_ALIGN(size));
}

static int pool_get_sgtable(struct device *dev, struct sg_table *sgt, void *piece, dma_addr_t at,
			    size_t size, unsigned long attrs)
{
	int ret = sg_alloc_table(sgt, 1, GFP_KERNEL);

	if (!ret)
		sg_set_page(sgt->sgl, pfn_to_page(PHYS_PFN(at)), PAGE_ALIGN(size), 0);
	return ret;
}

static const struct dma_map_ops pool_ops = {
	.alloc = pool_alloc,
	.free = pool_free,
	.mmap = pool_mmap,
	.get_sgtable = pool_get_sgtable,
};

static int open_memory(void)
{
	resource_size_t start, size;

	ivshmem = pci_get_device(IVSHMEM_VENDOR, IVSHMEM_DEVICE, NULL);
	if (!ivshmem || pci_enable_device(ivshmem))
		return -ENODEV;
	start = pci_resource_start(ivshmem, IVSHMEM_RAM);
	size = pci_resource_len(ivshmem, IVSHMEM_RAM);
	view = memremap(start, size, MEMREMAP_WB);
	pieces = gen_pool_create(PAGE_SHIFT, -1);
	if (!view || !pieces)
		return -ENOMEM;
	return gen_pool_add_virt(pieces, (unsigned long)view, start, size, -1);
}

struct device *pool_open(void)
{
	int ret = open_memory();

	if (ret)
		return ERR_PTR(ret);
	pool_device = platform_device_register_simple("vb3pool", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(pool_device))
		return ERR_CAST(pool_device);
	set_dma_ops(&pool_device->dev, &pool_ops);
	dma_set_mask_and_coherent(&pool_device->dev, DMA_BIT_MASK(64));
	return &pool_device->dev;
}

struct device *far_open(void)
{
	far_device = platform_device_register_simple("vb3far", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(far_device))
		return ERR_CAST(far_device);
	dma_set_mask_and_coherent(&far_device->dev, DMA_BIT_MASK(64));
	return &far_device->dev;
}

void pool_close(void)
{
	if (!IS_ERR_OR_NULL(pool_device))
		platform_device_unregister(pool_device);
	if (!IS_ERR_OR_NULL(far_device))
		platform_device_unregister(far_device);
	if (pieces)
		gen_pool_destroy(pieces);
	if (view)
		memunmap(view);
	if (ivshmem)
		pci_dev_put(ivshmem);
}
