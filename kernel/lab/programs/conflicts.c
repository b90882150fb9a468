// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Makes the stock module refuse memory, once for each reason that a device of one plane can meet. The
 * scenario then checks the reason that vb2-why recorded. Prints one line of JSON for each step on stdout.
 *
 *   conflicts DEVICE PREFIX direct       a 32-bit device without an IOMMU
 *   conflicts DEVICE PREFIX translated   a 28-bit device behind an IOMMU
 *   conflicts DEVICE PREFIX large        a buffer larger than the machine's memory; ends this program
 *   conflicts DEVICE PREFIX attach       an exporter that refuses to attach. The stock core then keeps the
 *                                        dma-buf, so vb3probe stays loaded
 *   conflicts DEVICE PREFIX vmap         a device of the vmalloc module, and an exporter without vmap
 */
#define _GNU_SOURCE
#include "edu.h"
#include "../driver/probe.h"

#define BLOCK (4u << 20)
#define BOUNCE (256u << 10)
#define MAX_BUFFERS 32

static int probe = -1;

static void refused(const char *name, int error, int wanted)
{
	step(name, "\"errno\":%d,\"want\":%d,\"ok\":%s", error, wanted,
	     error == wanted ? "true" : "false");
}

/* Queues a program's memory at an index. */
static int queue(unsigned int index, uint8_t *at)
{
	return qbuf(&(struct buffer){ .type = OUT, .memory = V4L2_MEMORY_USERPTR, .view = at, .index = index });
}

/* Imports a dma-buf whose exporter fails. */
static void exporter(const char *name, int attach_error, int map_error, int wanted)
{
	struct probe_make m = {
		.count = 1, .order = { 4 }, .attach_error = attach_error, .map_error = map_error,
	};
	struct buffer b = { .type = OUT, .memory = V4L2_MEMORY_DMABUF };
	int error = set_size(65536);

	error = error ? error : reqbufs(OUT, V4L2_MEMORY_DMABUF, 1, 0);
	error = error ? error : call(probe, PROBE_MAKE, &m);
	b.fd = m.fd;
	refused(name, error ? error : qbuf(&b), wanted);
	reqbufs(OUT, V4L2_MEMORY_DMABUF, 0, 0);
	close(m.fd);
}

/* Requests user memory that begins within a cache line. On x86-64, any address is aligned. */
static void unaligned(void)
{
	uint8_t *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error = set_size(4096);

	error = error ? error : reqbufs(OUT, V4L2_MEMORY_USERPTR, 1, 0);
	error = error ? error : queue(0, at + 16);
#ifdef __x86_64__
	step("alignment", "\"errno\":%d,\"left_out\":\"any address is aligned\"", error);
#else
	refused("alignment", error, EINVAL);
#endif
	reqbufs(OUT, V4L2_MEMORY_USERPTR, 0, 0);
	munmap(at, 8192);
}

/* videobuf2's core passes no length of 0, so the test driver does. */
static void empty(void)
{
	struct probe_check c = { 0 };
	int error = call(probe, PROBE_EMPTY, &c);

	refused("empty", error ? error : (int)c.result[0], EINVAL);
}

/* Allocates the page allocator's largest block while there are only smaller ones, then again. */
static void in_pieces(void)
{
	struct probe_check c = { .rounds = 1 };
	int error = set_size(BLOCK);

	error = error ? error : call(probe, PROBE_HOARD, &c);
	refused("in-pieces", error ? error : reqbufs(OUT, V4L2_MEMORY_MMAP, 1, 0), ENOMEM);
	reqbufs(OUT, V4L2_MEMORY_MMAP, 0, 0);
	step("hoard", "\"blocks\":%lld,\"ok\":%s", (long long)c.result[0],
	     c.result[0] > 0 ? "true" : "false");
	c.rounds = 0;
	error = call(probe, PROBE_HOARD, &c);
	refused("in-one-piece", error ? error : reqbufs(OUT, V4L2_MEMORY_MMAP, 1, 0), 0);
	reqbufs(OUT, V4L2_MEMORY_MMAP, 0, 0);
}

/* Queues one piece of user memory in all buffers, until no bounce slots or addresses are left for the device. */
static void again_and_again(const char *name, uint8_t *at, uint32_t size)
{
	int error = set_size(size);
	unsigned int made = 0;

	error = error ? error : reqbufs(OUT, V4L2_MEMORY_USERPTR, MAX_BUFFERS, 0);
	while (!error && made < MAX_BUFFERS) {
		error = queue(made, at);
		made += !error;
	}
	step(name, "\"errno\":%d,\"want\":%d,\"buffers\":%u,\"ok\":%s", error, EIO, made,
	     error == EIO && made ? "true" : "false");
	reqbufs(OUT, V4L2_MEMORY_USERPTR, 0, 0);
}

/* The device reaches none of a huge page above 4 GiB, so each buffer has a bounce of its own. */
static void bounced(void)
{
	again_and_again("bounces", huge_page(), BOUNCE);
}

/* The device's 256 MiB of addresses: used by eight mappings of a program's memory, then by one buffer. */
static void addresses(void)
{
	uint32_t size = 32u << 20;
	uint8_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int error;

	if (at == MAP_FAILED)
		exit(1);
	again_and_again("addresses", at, size);
	munmap(at, size);
	error = set_size(320u << 20);
	refused("addresses-of-one", error ? error : reqbufs(OUT, V4L2_MEMORY_MMAP, 1, 0), ENOMEM);
}

/* Requests more memory than there is. The kernel ends this program when no page is left, and the call
 * fails. */
static void large(void)
{
	int file = open("/proc/self/oom_score_adj", O_WRONLY);

	if (file < 0 || write(file, "1000", 4) < 0)
		exit(1);
	set_size(3u << 30);
	refused("large", reqbufs(OUT, V4L2_MEMORY_MMAP, 1, 0), ENOMEM);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 3 ? argv[3] : "";

	prefix = argc > 2 ? argv[2] : "x";
	video = argc > 1 ? open(argv[1], O_RDWR) : -1;
	probe = open("/dev/vb3probe", O_RDWR);
	if (video < 0 || probe < 0) {
		step("open", "\"ok\":false,\"errno\":%d", errno);
		return 1;
	}
	if (!strcmp(mode, "direct")) {
		exporter("exporter-map", 0, ENXIO, EINVAL);
		unaligned();
		empty();
		in_pieces();
		bounced();
	} else if (!strcmp(mode, "translated")) {
		addresses();
	} else if (!strcmp(mode, "large")) {
		large();
	} else if (!strcmp(mode, "attach")) {
		exporter("exporter-attach", EBUSY, 0, EBUSY);
	} else if (!strcmp(mode, "vmap")) {
		exporter("exporter-vmap", 0, 0, EFAULT);
	} else {
		return 2;
	}
	return 0;
}
