// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that only have memory. They move no bytes: the edu device imports their memory and moves the
 * bytes.
 *
 * On arm64, device trees declare coherent memory for devices (vb3board). x86 kernels are built without
 * this, so the pool replaces it. Its DMA operations hand out pieces of the RAM behind ivshmem's BAR,
 * which has no pages. Like the kernel's direct mapping, they describe each piece by a page that is
 * only computed from the address.
 */
#include <linux/bitmap.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/of.h>
#include <linux/of_reserved_mem.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>

#include "pool.h"

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define IVSHMEM_RAM 2

static struct platform_device *pool_device, *far_device, *board_device;
static struct pci_dev *ivshmem;
static void *view;
static resource_size_t start;

/* The pages behind the BAR that are in use. */
#define MOST_PAGES 4096
static DECLARE_BITMAP(taken, MOST_PAGES);
static DEFINE_SPINLOCK(taken_lock);
static unsigned long pages;

static void *pool_alloc(struct device *dev, size_t size, dma_addr_t *at, gfp_t gfp,
			unsigned long attrs)
{
	unsigned long first, count = PFN_UP(size);
	void *piece;

	spin_lock(&taken_lock);
	first = bitmap_find_next_zero_area(taken, pages, 0, count, 0);
	if (first < pages)
		bitmap_set(taken, first, count);
	spin_unlock(&taken_lock);
	if (first >= pages)
		return NULL;
	piece = view + (first << PAGE_SHIFT);
	*at = start + (first << PAGE_SHIFT);
	return memset(piece, 0, size);
}

static void pool_free(struct device *dev, size_t size, void *piece, dma_addr_t at,
		      unsigned long attrs)
{
	spin_lock(&taken_lock);
	bitmap_clear(taken, (piece - view) >> PAGE_SHIFT, PFN_UP(size));
	spin_unlock(&taken_lock);
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
	resource_size_t size;

	ivshmem = pci_get_device(IVSHMEM_VENDOR, IVSHMEM_DEVICE, NULL);
	if (!ivshmem || pci_enable_device(ivshmem))
		return -ENODEV;
	start = pci_resource_start(ivshmem, IVSHMEM_RAM);
	size = pci_resource_len(ivshmem, IVSHMEM_RAM);
	view = memremap(start, size, MEMREMAP_WB);
	pages = min_t(resource_size_t, size >> PAGE_SHIFT, MOST_PAGES);
	return view ? 0 : -ENOMEM;
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

/* Returns a device of the device tree's node vb3-board, with one of the named memory regions. */
struct device *board_open(const char *region)
{
	struct device_node *node = of_find_node_by_path("/vb3-board");
	struct device *dev;
	int ret;

	if (!node)
		return ERR_PTR(-ENODEV);
	board_device = platform_device_register_simple("vb3board", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(board_device)) {
		of_node_put(node);
		return ERR_CAST(board_device);
	}
	dev = &board_device->dev;
	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (!ret)
		ret = of_reserved_mem_device_init_by_name(dev, node, region);
	of_node_put(node);
	return ret ? ERR_PTR(ret) : dev;
}

void pool_close(void)
{
	if (!IS_ERR_OR_NULL(board_device)) {
		of_reserved_mem_device_release(&board_device->dev);
		platform_device_unregister(board_device);
	}
	board_device = NULL;
	if (!IS_ERR_OR_NULL(pool_device))
		platform_device_unregister(pool_device);
	if (!IS_ERR_OR_NULL(far_device))
		platform_device_unregister(far_device);
	if (view)
		memunmap(view);
	if (ivshmem)
		pci_dev_put(ivshmem);
}
