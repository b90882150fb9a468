// SPDX-License-Identifier: GPL-2.0-only
/* Explains a failed operation: the constraint, the value wanted and the value found. */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/scatterlist.h>
#include <linux/vmstat.h>

#include "why.h"

/* Most entries of a scatter table that are read: handlers run with preemption disabled. */
#define MAX_ENTRIES 65536

static bool is_translated(struct device *dev)
{
	struct iommu_domain *domain = dev ? iommu_get_domain_for_dev(dev) : NULL;

	return domain && domain->type & __IOMMU_DOMAIN_PAGING;
}

/* Reads a scatter table after an attempt to map it: its DMA addresses after success, else its pages. */
void why_look(struct op *op, struct sg_table *sgt, int error)
{
	dma_addr_t next = 0;
	struct scatterlist *sg;
	unsigned int i;

	op->is_mapped = !error;
	op->contiguous = op->longest = op->last_address = 0;
	op->segments = error ? sgt->orig_nents : sgt->nents;
	if (error) {
		for_each_sgtable_sg(sgt, sg, i) {
			if (i == MAX_ENTRIES || !sg_page(sg))
				break;
			op->longest = max_t(u64, op->longest, sg->length);
			op->last_address = max_t(u64, op->last_address,
						 sg_phys(sg) + sg->length - 1);
		}
		return;
	}
	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (i == MAX_ENTRIES || (i && sg_dma_address(sg) != next))
			break;
		next = sg_dma_address(sg) + sg_dma_len(sg);
		op->contiguous += sg_dma_len(sg);
	}
}

/* Returns the size of the largest free block in zones that begin below the mask. Reads without
 * locks. */
static u64 largest_block(u64 mask)
{
	u64 largest = 0;
	int node, i, order;

	for_each_online_node(node) {
		for (i = 0; i < MAX_NR_ZONES; i++) {
			struct zone *zone = &NODE_DATA(node)->node_zones[i];

			if (!populated_zone(zone) || PFN_PHYS(zone->zone_start_pfn) > mask)
				continue;
			for (order = ARRAY_SIZE(zone->free_area) - 1; order >= 0; order--)
				if (READ_ONCE(zone->free_area[order].nr_free))
					break;
			if (order >= 0)
				largest = max_t(u64, largest, (u64)PAGE_SIZE << order);
		}
	}
	return largest;
}

#define REASON(r, c, w, f, remedy_text) do { \
	(r)->constraint = (c); (r)->wanted = (w); (r)->found = (f); (r)->remedy = (remedy_text); \
} while (0)
#define NOTE(r, ...) snprintf((r)->note, sizeof((r)->note), __VA_ARGS__)

static void no_memory(const struct op *op, struct refusal *r)
{
	u64 block, cma, room;

	if (op->allocator != CONTIG || !op->dev || is_translated(op->dev)) {
		REASON(r, "ram", op->size, (u64)si_mem_available() << PAGE_SHIFT,
		       "smaller or fewer buffers");
		return;
	}
	block = largest_block(op->dev->coherent_dma_mask);
	cma = (u64)global_zone_page_state(NR_FREE_CMA_PAGES) << PAGE_SHIFT;
	room = max(block, cma);
	NOTE(r, "largest free block %llu, CMA free %llu", block, cma);
	REASON(r, room < op->size ? "cma-size" : "contiguous", op->size, room,
	       "smaller or fewer buffers, or more contiguous memory that this device reaches (cma=)");
}

static void not_mapped(const struct op *op, struct refusal *r)
{
	u64 mask = dma_get_mask(op->dev), bounce = dma_max_mapping_size(op->dev);

	NOTE(r, "%u segments, longest %llu", op->segments, op->longest);
	if (is_translated(op->dev))
		REASON(r, "iova-space", op->size, 0, "smaller or fewer buffers mapped at one time");
	else if (op->last_address > mask)
		REASON(r, "dma-mask", op->last_address, mask,
		       "memory up to the address found: a buffer that this device allocates");
	else
		REASON(r, "bounce-pool", op->longest, bounce,
		       "a buffer that this device allocates");
}

static void in_pieces(const struct op *op, struct refusal *r)
{
	NOTE(r, "%u segments, 1 wanted", op->segments);
	REASON(r, "contiguous", op->size, op->contiguous,
	       "memory in one piece: a buffer that this device allocates, or one of a contiguous heap");
}

static bool is_in_pieces(const struct op *op)
{
	return op->allocator == CONTIG && op->is_mapped && op->contiguous < op->size;
}

static void of_user(const struct op *op, struct refusal *r)
{
	unsigned int align = dma_get_cache_alignment();

	if (!op->size)
		REASON(r, "buffer-size", 1, 0, "a length above 0");
	else if (op->allocator == CONTIG && !IS_ALIGNED(op->vaddr | op->size, align))
		REASON(r, "alignment", align, 1u << __ffs(op->vaddr | op->size),
		       "address and length at multiples of what was wanted");
	else if (op->dma_error)
		not_mapped(op, r);
	else if (is_in_pieces(op))
		in_pieces(op, r);
	else
		REASON(r, "user-pages", PAGE_ALIGN(offset_in_page(op->vaddr) + op->size) >> PAGE_SHIFT,
		       0, "memory that the program has mapped, and may write if the device writes");
}

static void of_import(const struct op *op, struct refusal *r)
{
	/* DMA mapping errors can be the exporter's, too, but these have a known reason. */
	if (op->kind == ATTACH && op->dmabuf->size < op->size)
		REASON(r, "buffer-size", op->size, op->dmabuf->size, "a dma-buf of the size wanted");
	else if (op->kind == MAP && op->dma_error && op->dev)
		not_mapped(op, r);
	else if (op->kind == MAP && !op->dmabuf_error && is_in_pieces(op))
		in_pieces(op, r);
	else
		REASON(r, "exporter-errno", 0, op->dmabuf_error ? -op->dmabuf_error : r->error,
		       "memory that this device reaches: a buffer that it allocates");
}

static const char *const what[] = {
	[ALLOC] = "an allocation", [USERPTR] = "user memory", [ATTACH] = "a dma-buf",
	[MAP] = "a dma-buf", [EXPORT] = "an export", [MMAP] = "a mapping",
};

/* Completes a refusal with a known error. */
void why_explain(const struct op *op, struct refusal *r)
{
	r->what = what[op->kind];
	switch (op->kind) {
	case ALLOC:
		no_memory(op, r);
		break;
	case USERPTR:
		of_user(op, r);
		break;
	case ATTACH:
	case MAP:
		of_import(op, r);
		break;
	case MMAP:
		REASON(r, "buffer-size", op->vaddr, op->size, "a mapping no longer than the buffer");
		break;
	default:
		REASON(r, "ram", op->size, (u64)si_mem_available() << PAGE_SHIFT,
		       "fewer buffers and open files");
	}
}
