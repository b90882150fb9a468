// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tests buffers whose planes belong to two devices, through the driver of kernel/lab/driver/planes.c: where
 * each plane lies, that each device's bytes arrive, and which device refuses memory beyond its reach.
 *
 *   planes STRAIGHT CROSSED PREFIX [leaks]
 *
 * STRAIGHT has a plane of vb3near (32 bits), then one of vb3wide (64 bits); CROSSED the other way
 * round. The machine has memory above 4 GiB. One line of JSON for each step on stdout. With `leaks`, a thousand
 * refusals follow.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include "edu.h"
#include "../driver/planes.h"

#define TYPE V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
#define REFUSALS "/sys/kernel/debug/vb2-dma-contig/refusals"
#define FOUR_GIB 0x100000000ull
/* One size is short enough for a bounce; the other is not, since a bounce has at most 256 KiB. */
#define SHORT 65536u
#define LONG (1u << 20)
/* Without a reserved area, no contiguous memory has this size. */
#define TOO_LONG (64u << 20)

enum { NEAR, WIDE };

static const char *const engine_name[] = { "vb3near", "vb3wide" };

/* A node, with the engine of its first plane. */
struct node {
	int fd, first;
	uint32_t bytes[PLANES];
	int memory;
};

static struct node straight = { .first = NEAR }, crossed = { .first = WIDE };

/* A program's handles of one plane. */
struct plane {
	uint8_t *view;
	int fd;
};

static int engine_of(const struct node *n, int plane)
{
	return plane ? !n->first : n->first;
}

static int set_sizes(struct node *n, uint32_t first, uint32_t second)
{
	struct v4l2_format f = { .type = TYPE };

	f.fmt.pix_mp.num_planes = PLANES;
	f.fmt.pix_mp.plane_fmt[0].sizeimage = n->bytes[0] = first;
	f.fmt.pix_mp.plane_fmt[1].sizeimage = n->bytes[1] = second;
	return call(n->fd, VIDIOC_S_FMT, &f);
}

static int request(struct node *n, int memory, int count, unsigned int flags)
{
	struct v4l2_requestbuffers r = {
		.type = TYPE, .memory = memory, .count = count, .flags = flags,
	};

	n->memory = memory;
	return call(n->fd, VIDIOC_REQBUFS, &r);
}

static int map_planes(struct node *n, struct plane p[PLANES])
{
	struct v4l2_plane planes[PLANES] = {};
	struct v4l2_buffer v = {
		.type = TYPE, .memory = V4L2_MEMORY_MMAP, .m.planes = planes, .length = PLANES,
	};
	int error = call(n->fd, VIDIOC_QUERYBUF, &v);

	for (int i = 0; i < PLANES && !error; i++) {
		p[i].view = mmap(NULL, planes[i].length, PROT_READ | PROT_WRITE, MAP_SHARED, n->fd,
				 planes[i].m.mem_offset);
		error = p[i].view == MAP_FAILED ? errno : 0;
	}
	return error;
}

static int export_planes(struct node *n, struct plane p[PLANES])
{
	for (int i = 0; i < PLANES; i++) {
		struct v4l2_exportbuffer e = { .type = TYPE, .plane = i, .flags = O_RDWR | O_CLOEXEC };
		int error = call(n->fd, VIDIOC_EXPBUF, &e);

		if (error)
			return error;
		p[i].fd = e.fd;
	}
	return 0;
}

static int queue(struct node *n, struct plane p[PLANES], unsigned long request)
{
	struct v4l2_plane planes[PLANES] = {};
	struct v4l2_buffer v = {
		.type = TYPE, .memory = n->memory, .m.planes = planes, .length = PLANES,
	};

	for (int i = 0; i < PLANES; i++) {
		planes[i].length = n->bytes[i];
		if (n->memory == V4L2_MEMORY_USERPTR)
			planes[i].m.userptr = (unsigned long)p[i].view;
		if (n->memory == V4L2_MEMORY_DMABUF)
			planes[i].m.fd = p[i].fd;
	}
	return call(n->fd, request, &v);
}

/* Passes a buffer through the device. `bad` gets the number of wrong bytes in each plane that the
 * CPU may read, else -1. */
static int stream(struct node *n, struct plane p[PLANES], int bad[PLANES])
{
	int on = TYPE, error;

	for (int i = 0; i < PLANES; i++) {
		struct buffer b = { .memory = n->memory, .fd = p[i].fd };

		bad[i] = -1;
		cpu_access(&b, 1);
		if (p[i].view)
			memset(p[i].view, 0xee, n->bytes[i]);
		cpu_access(&b, 0);
	}
	error = queue(n, p, VIDIOC_QBUF);
	error = error ? error : call(n->fd, VIDIOC_STREAMON, &on);
	if (!error) {
		struct v4l2_plane planes[PLANES] = {};
		struct v4l2_buffer v = {
			.type = TYPE, .memory = n->memory, .m.planes = planes, .length = PLANES,
		};

		error = call(n->fd, VIDIOC_DQBUF, &v);
		error = !error && v.flags & V4L2_BUF_FLAG_ERROR ? EIO : error;
	}
	for (int i = 0; i < PLANES && !error; i++) {
		struct buffer b = { .memory = n->memory, .fd = p[i].fd };

		cpu_access(&b, 1);
		bad[i] = 0;
		for (uint32_t at = 0; p[i].view && at < n->bytes[i]; at++)
			bad[i] += p[i].view[at] != PLANES_BYTE(engine_of(n, i), 0);
		cpu_access(&b, 0);
	}
	call(n->fd, VIDIOC_STREAMOFF, &on);
	return error;
}

/* Returns the addresses of the last buffer's planes. */
static void where(unsigned long long at[PLANES])
{
	char text[64];

	text_of("/sys/module/vb3planes/parameters/at", text, sizeof(text));
	if (sscanf(text, "%llu,%llu", &at[0], &at[1]) != PLANES)
		at[0] = at[1] = 0;
}

/* Streams once and prints the result: no error, no wrong byte, near's plane below 4 GiB and wide's
 * above. */
static void must_stream(const char *name, struct node *n, struct plane p[PLANES], int error)
{
	unsigned long long at[PLANES] = {};
	int bad[PLANES] = { -1, -1 };
	bool apart;

	if (!error) {
		error = stream(n, p, bad);
		where(at);
	}
	apart = at[n->first] + n->bytes[n->first] <= FOUR_GIB && at[!n->first] >= FOUR_GIB;
	step(name, "\"errno\":%d,\"want\":0,\"wrong\":%d,\"near_at\":\"%#llx\",\"wide_at\":\"%#llx\",\"ok\":%s",
	     error, error ? -1 : bad[0] + bad[1], at[n->first], at[!n->first],
	     !error && apart ? "true" : "false");
}

/*
 * Checks an expected refusal. If the module prints reasons, its last line must name this engine, this
 * constraint, and what would do instead.
 */
static void must_refuse(const char *name, int errno_wanted, int error, int engine,
			const char *constraint)
{
	char text[8192], *said, *end;
	bool tells = access(REFUSALS, R_OK) == 0, told;

	said = text_of(REFUSALS, text, sizeof(text));
	end = strrchr(said, '\n');
	if (end)
		*end = 0;
	end = strrchr(said, '\n');
	said = end ? end + 1 : said;
	told = strstr(said, engine_name[engine]) && strstr(said, constraint) &&
	       strstr(said, "would do: ");
	step(name, "\"errno\":%d,\"want\":%d,\"said\":\"%s\",\"ok\":%s", error, errno_wanted, said,
	     error == errno_wanted && (!tells || told) ? "true" : "false");
}

static void unmap(struct node *n, struct plane p[PLANES])
{
	for (int i = 0; i < PLANES; i++)
		if (p[i].view && p[i].view != MAP_FAILED)
			munmap(p[i].view, n->bytes[i]);
}

/* Tests the queue's own memory, by mmap and by its dma-bufs. */
static void own(const char *kind, unsigned int flags)
{
	struct node *nodes[] = { &straight, &crossed };

	for (int i = 0; i < 2; i++) {
		struct plane p[PLANES] = { { .fd = -1 }, { .fd = -1 } };
		struct node *n = nodes[i];
		char name[64];
		int error = set_sizes(n, LONG, SHORT);

		error = error ? error : request(n, V4L2_MEMORY_MMAP, 1, flags);
		error = error ? error : map_planes(n, p);
		snprintf(name, sizeof(name), "%s.%s", kind, i ? "crossed" : "straight");
		must_stream(name, n, p, error);
		unmap(n, p);
		request(n, V4L2_MEMORY_MMAP, 0, 0);
	}
}

/* Exports `from`'s two planes, in memory for its engines. Then only the dma-bufs hold the memory. */
static int lend(struct node *from, uint32_t size, unsigned int flags, struct plane p[PLANES])
{
	int error = set_sizes(from, size, size);

	p[0] = p[1] = (struct plane){ .fd = -1 };
	error = error ? error : request(from, V4L2_MEMORY_MMAP, 1, flags);
	error = error ? error : export_planes(from, p);
	request(from, V4L2_MEMORY_MMAP, 0, 0);
	for (int i = 0; i < PLANES && !error; i++) {
		p[i].view = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, p[i].fd, 0);
		error = p[i].view == MAP_FAILED ? errno : 0;
	}
	return error;
}

static void give_back(struct node *n, struct plane p[PLANES])
{
	request(n, V4L2_MEMORY_DMABUF, 0, 0);
	unmap(n, p);
	close(p[0].fd);
	close(p[1].fd);
}

static void swap(struct plane p[PLANES])
{
	struct plane first = p[0];

	p[0] = p[1];
	p[1] = first;
}

/* Queues the dma-bufs of one node as the other's planes: for the engine that they were allocated for,
 * then for the other engine, too long for a bounce, and short enough. */
static void lent(const char *kind, unsigned int flags)
{
	unsigned long long at[PLANES] = {};
	struct node *to = &crossed;
	struct plane p[PLANES];
	int error, bad[PLANES];
	char name[64];
	bool below;

	error = lend(&straight, LONG, flags, p);
	swap(p);
	error = error ? error : set_sizes(to, LONG, LONG);
	error = error ? error : request(to, V4L2_MEMORY_DMABUF, 1, 0);
	snprintf(name, sizeof(name), "lent.%s.to-its-engine", kind);
	must_stream(name, to, p, error);
	swap(p);
	snprintf(name, sizeof(name), "lent.%s.to-the-other", kind);
	must_refuse(name, EINVAL, error ? error : queue(to, p, VIDIOC_QBUF), NEAR, "dma-mask");
	give_back(to, p);

	/* Near gets wide's memory, which the kernel bounces; wide reaches near's directly. */
	error = lend(&straight, SHORT, flags, p);
	error = error ? error : set_sizes(to, SHORT, SHORT);
	error = error ? error : request(to, V4L2_MEMORY_DMABUF, 1, 0);
	error = error ? error : stream(to, p, bad);
	if (!error)
		where(at);
	below = !error && at[0] && at[0] < FOUR_GIB && at[1] && at[1] < FOUR_GIB;
	snprintf(name, sizeof(name), "lent.%s.bounced", kind);
	step(name, "\"defect\":5,\"errno\":%d,\"want\":0,\"wrong\":%d,\"wide_at\":\"%#llx\",\"near_at\":\"%#llx\",\"ok\":%s",
	     error, error ? -1 : bad[0] + bad[1], at[0], at[1],
	     below && !bad[0] && !bad[1] ? "true" : "false");
	give_back(to, p);
}

/* Tests memory of the system heap, which ignores the masks of devices. */
static void foreign(void)
{
	struct plane p[PLANES], low[PLANES];
	int error;

	if (access("/dev/dma_heap/system", F_OK)) {
		step("heap", "\"left_out\":\"the kernel has no heaps\"");
		return;
	}
	for (int i = 0; i < PLANES; i++)
		p[i] = (struct plane){ .fd = heap_buffer(LONG) };
	error = set_sizes(&straight, LONG, LONG);
	error = error ? error : request(&straight, V4L2_MEMORY_DMABUF, 1, 0);
	must_refuse("heap.for-near", EINVAL, error ? error : queue(&straight, p, VIDIOC_QBUF), NEAR,
		    "exporter-errno");
	request(&straight, V4L2_MEMORY_DMABUF, 0, 0);
	/* With another source for near's plane, wide accepts the heap's. */
	error = lend(&straight, LONG, 0, low);
	p[0].view = mmap(NULL, LONG, PROT_READ | PROT_WRITE, MAP_SHARED, p[0].fd, 0);
	error = error ? error : set_sizes(&crossed, LONG, LONG);
	error = error ? error : request(&crossed, V4L2_MEMORY_DMABUF, 1, 0);
	must_stream("heap.for-wide", &crossed, (struct plane[]){ p[0], low[0] }, error);
	/* Too small for the second plane. */
	close(p[1].fd);
	p[1].fd = heap_buffer(SHORT);
	must_refuse("heap.too-small", EFAULT,
		    error ? error : queue(&crossed, (struct plane[]){ p[0], p[1] }, VIDIOC_QBUF), NEAR,
		    "buffer-size");
	give_back(&crossed, p);
	unmap(&straight, low);
	close(low[0].fd);
	close(low[1].fd);
}

/* Tests a program's memory: one piece that only wide reaches, a bounced page, and several pieces. */
static void user(void)
{
	uint8_t *huge = huge_page(), *page = huge + LONG, *pieces = scattered(SHORT);
	struct plane p[PLANES] = { { .view = page, .fd = -1 }, { .view = huge, .fd = -1 } };
	int error = set_sizes(&straight, 4096, LONG);

	error = error ? error : request(&straight, V4L2_MEMORY_USERPTR, 1, 0);
	must_stream("user.long-for-wide", &straight, p, error);
	request(&straight, V4L2_MEMORY_USERPTR, 0, 0);

	error = set_sizes(&straight, LONG, 4096);
	error = error ? error : request(&straight, V4L2_MEMORY_USERPTR, 1, 0);
	swap(p);
	must_refuse("user.long-for-near", EIO, error ? error : queue(&straight, p, VIDIOC_QBUF), NEAR,
		    "dma-mask");
	request(&straight, V4L2_MEMORY_USERPTR, 0, 0);

	error = set_sizes(&straight, 4096, SHORT);
	error = error ? error : request(&straight, V4L2_MEMORY_USERPTR, 1, 0);
	p[0].view = page;
	p[1].view = pieces;
	must_refuse("user.pieces-for-wide", EFAULT, error ? error : queue(&straight, p, VIDIOC_QBUF),
		    WIDE, "contiguous");
	p[1].view = (uint8_t *)4096;
	must_refuse("user.nothing-for-wide", EFAULT, error ? error : queue(&straight, p, VIDIOC_QBUF),
		    WIDE, "user-pages");
	request(&straight, V4L2_MEMORY_USERPTR, 0, 0);
}

/* Requests sizes that neither engine's memory has in one piece. */
static void too_long(void)
{
	int error = set_sizes(&straight, TOO_LONG, SHORT);

	must_refuse("too-long-for-near", ENOMEM,
		    error ? error : request(&straight, V4L2_MEMORY_MMAP, 1, 0), NEAR, "cma-size");
	error = set_sizes(&straight, SHORT, TOO_LONG);
	must_refuse("too-long-for-wide", ENOMEM,
		    error ? error : request(&straight, V4L2_MEMORY_MMAP, 1, 0), WIDE, "cma-size");
}

static int references(void)
{
	char text[32];

	return atoi(text_of("/sys/module/vb3planes/parameters/references", text, sizeof(text)));
}

/* A refused allocation must keep no reference to its device. Before 94de23a9aa48, the stock module kept one. */
static void leaks(void)
{
	int before = references(), after, refused = 0;

	set_sizes(&straight, TOO_LONG, SHORT);
	for (int i = 0; i < 1000; i++)
		refused += request(&straight, V4L2_MEMORY_MMAP, 1, 0) == ENOMEM;
	after = references();
	step("references", "\"refused\":%d,\"before\":%d,\"after\":%d,\"ok\":%s", refused, before, after,
	     refused == 1000 && before > 0 && before == after ? "true" : "false");
}

int main(int argc, char **argv)
{
	straight.fd = argc > 3 ? open(argv[1], O_RDWR) : -1;
	crossed.fd = argc > 3 ? open(argv[2], O_RDWR) : -1;
	prefix = argc > 3 ? argv[3] : "x";
	if (straight.fd < 0 || crossed.fd < 0) {
		step("open", "\"ok\":false,\"errno\":%d", errno);
		return 1;
	}
	own("coherent", 0);
	own("noncoherent", V4L2_MEMORY_FLAG_NON_COHERENT);
	lent("coherent", 0);
	lent("noncoherent", V4L2_MEMORY_FLAG_NON_COHERENT);
	foreign();
	user();
	too_long();
	if (argc > 4)
		leaks();
	return 0;
}
