/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The interface of /dev/vb3probe. */
#ifndef PROBE_H
#define PROBE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PROBE_CHUNKS 16

/* Makes a dma-buf of chunks of 4096 << order[i] bytes. No chunk is adjacent to the previous one. If
 * attach_error or map_error is not 0, every attach or every map of the dma-buf fails with that errno. */
struct probe_make {
	__u32 count;
	__s32 fd;
	__s32 attach_error, map_error;
	__u8 order[PROBE_CHUNKS];
};

/* Calls the allocator as no program can. vb3probe.c explains the result. */
struct probe_check {
	__s32 fd;
	union {
		__u32 rounds;
		__u32 first;	/* of PROBE_REMAP: the direction of the first map */
	};
	__s64 result[4];
};

#define PROBE_MAKE _IOWR('3', 0, struct probe_make)
#define PROBE_REMAP _IOWR('3', 1, struct probe_check)
#define PROBE_RACE _IOWR('3', 2, struct probe_check)
#define PROBE_ZERO _IOWR('3', 3, struct probe_check)
#define PROBE_GONE _IOWR('3', 4, struct probe_check)
#define PROBE_EMPTY _IOWR('3', 5, struct probe_check)
/* If `rounds` is not 0, allocates the largest blocks that 32-bit devices reach; otherwise frees them. */
#define PROBE_HOARD _IOWR('3', 6, struct probe_check)

#endif
