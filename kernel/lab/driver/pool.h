/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef POOL_H
#define POOL_H

struct device;

/* Returns a separate device with memory without pages: RAM behind another device's BAR. */
struct device *pool_open(void);
/* Returns a separate device that reaches all memory and is behind no IOMMU. */
struct device *far_open(void);
/* Returns a board's device, with the memory region of this name in the device tree. */
struct device *board_open(const char *region);
/* Removes all devices, after all their memory was freed. */
void pool_close(void);

#endif
