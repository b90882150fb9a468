/* SPDX-License-Identifier: GPL-2.0-only */
/* Names that kernels before 6.12 lack. */
#ifndef VB3_OLDER_H
#define VB3_OLDER_H

#include <linux/dma-buf.h>
#include <linux/mm.h>
#include <linux/version.h>

#include <media/videobuf2-memops.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define dma_buf_map_attachment_unlocked dma_buf_map_attachment
#define dma_buf_unmap_attachment_unlocked dma_buf_unmap_attachment
#define dma_buf_vmap_unlocked dma_buf_vmap
#define dma_buf_vunmap_unlocked dma_buf_vunmap
/* It pins memory for writing always. */
#define vb2_create_framevec(start, bytes, write) vb2_create_framevec(start, bytes)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define MAX_PAGE_ORDER (MAX_ORDER - 1)
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define MAX_PAGE_ORDER MAX_ORDER
#endif

#endif
