// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Makes calls that the kernel must refuse: a DRM driver imports a file that is no dma-buf, and a heap of contiguous
 * memory allocates more than it has. (For the system heap, the OOM killer would end other programs.) Prints one
 * line of JSON for each.
 *
 *   refused CARD [HEAP]
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Of drm.h, which needs libdrm. */
struct prime_handle {
	uint32_t handle, flags;
	int32_t fd;
};
#define PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct prime_handle)

static void step(const char *name, int error, int want)
{
	printf("{\"step\":\"why.%s\",\"errno\":%d,\"ok\":%s}\n", name, error, error == want ? "true" : "false");
}

int main(int argc, char **argv)
{
	struct dma_heap_allocation_data a = { .len = 1ull << 46, .fd_flags = O_RDWR | O_CLOEXEC };
	int card = argc > 1 ? open(argv[1], O_RDWR) : -1, heap = argc > 2 ? open(argv[2], O_RDWR) : -1;
	struct prime_handle p = { .fd = card };

	if (heap >= 0)
		step("heap", ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &a) ? errno : 0, ENOMEM);
	if (card >= 0)
		step("prime", ioctl(card, PRIME_FD_TO_HANDLE, &p) ? errno : 0, EINVAL);
	return 0;
}
