/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef POOL_H
#define POOL_H

struct device;

/* A device of its own with memory without pages: RAM behind another device's BAR. */
struct device *pool_open(void);
/* A device of its own that reaches all memory, and is behind no IOMMU. */
struct device *far_open(void);
/* A board's device, with that of the regions of its memory that has this name in the device tree. */
struct device *board_open(const char *region);
/* Ends all, once all their memory is back. */
void pool_close(void);

#endif
