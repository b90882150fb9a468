// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What only a device with real DMA shows, through the driver of lab/driver: user pointers,
 * scattered imports, non-coherent buffers, exports, kernel mappings, and the defects of the stock
 * module. One line of JSON for each step on stdout; the prefix of the names is the argument.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define OUT V4L2_BUF_TYPE_VIDEO_OUTPUT
#define CAP V4L2_BUF_TYPE_VIDEO_CAPTURE
#define CHUNK 2048

static const char *prefix = "";
static int video = -1;
static uint32_t bytes;

static void step(const char *name, const char *format, ...)
{
	va_list args;

	printf("{\"step\":\"%s.%s\",", prefix, name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	puts("}");
	fflush(stdout);
}

/* errno of a call, 0 for success. */
static int call(int fd, unsigned long request, void *arg)
{
	int ret;

	do
		ret = ioctl(fd, request, arg);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? errno : 0;
}

static void parameter(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/module/vb3edu/parameters/%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		step("parameter", "\"ok\":false,\"name\":\"%s\"", name);
	close(fd);
}

static int set_size(uint32_t size)
{
	struct v4l2_format f = { .type = OUT };
	int ret;

	f.fmt.pix.sizeimage = size;
	ret = call(video, VIDIOC_S_FMT, &f);
	bytes = size;
	return ret;
}

static int reqbufs(int type, int memory, int count, unsigned int flags)
{
	struct v4l2_requestbuffers r = {
		.type = type, .memory = memory, .count = count, .flags = flags,
	};

	return call(video, VIDIOC_REQBUFS, &r);
}

/* A buffer of one of the three kinds, with the view a program has of it. */
struct buffer {
	int type, memory;
	uint8_t *view;
	int fd;
};

static int mmap_buffer(struct buffer *b)
{
	struct v4l2_buffer v = { .type = b->type, .memory = V4L2_MEMORY_MMAP };
	int ret = call(video, VIDIOC_QUERYBUF, &v);

	if (ret)
		return ret;
	b->view = mmap(NULL, v.length, PROT_READ | PROT_WRITE, MAP_SHARED, video, v.m.offset);
	return b->view == MAP_FAILED ? errno : 0;
}

static int qbuf(struct buffer *b)
{
	struct v4l2_buffer v = { .type = b->type, .memory = b->memory, .field = V4L2_FIELD_NONE };

	if (b->memory == V4L2_MEMORY_USERPTR)
		v.m.userptr = (unsigned long)b->view;
	if (b->memory == V4L2_MEMORY_DMABUF)
		v.m.fd = b->fd;
	if (b->memory != V4L2_MEMORY_MMAP)
		v.length = bytes;
	v.bytesused = bytes;
	return call(video, VIDIOC_QBUF, &v);
}

static int dqbuf(struct buffer *b)
{
	struct v4l2_buffer v = { .type = b->type, .memory = b->memory };
	int ret = call(video, VIDIOC_DQBUF, &v);

	if (ret)
		return ret;
	return v.flags & V4L2_BUF_FLAG_ERROR ? EIO : 0;
}

/* User memory whose pages are not next to one another: every second page of a larger range is
 * touched first, then the others, and huge pages are kept out. */
static uint8_t *scattered(uint32_t size)
{
	uint8_t *at = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t page;

	madvise(at, 2 * size, MADV_NOHUGEPAGE);
	for (page = 0; page < size; page += 8192)
		at[page] = 1;
	for (page = size; page < 2 * size; page += 4096)
		at[page] = 1;
	for (page = 4096; page < size; page += 8192)
		at[page] = 1;
	munmap(at + size, size);
	return at;
}

static int heap_buffer(uint32_t size)
{
	struct dma_heap_allocation_data a = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDONLY);
	int ret;

	if (heap < 0)
		return -1;
	ret = call(heap, DMA_HEAP_IOCTL_ALLOC, &a);
	close(heap);
	return ret ? -1 : (int)a.fd;
}

static int udmabuf(uint32_t size)
{
	struct udmabuf_create c = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int dev = open("/dev/udmabuf", O_RDWR), fd;
	uint8_t *view;

	c.memfd = memfd_create("frame", MFD_ALLOW_SEALING);
	if (dev < 0 || (int)c.memfd < 0 || ftruncate(c.memfd, size))
		return -1;
	view = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c.memfd, 0);
	for (uint32_t page = 0; page < size; page += 8192)
		view[page] = 1;
	free(malloc(1 << 20));
	for (uint32_t page = 4096; page < size; page += 8192)
		view[page] = 1;
	munmap(view, size);
	fcntl(c.memfd, F_ADD_SEALS, F_SEAL_SHRINK);
	fd = ioctl(dev, UDMABUF_CREATE, &c);
	close(dev);
	close(c.memfd);
	return fd;
}

static void cpu_access(struct buffer *b, int begin)
{
	struct dma_buf_sync s = {
		.flags = DMA_BUF_SYNC_RW | (begin ? DMA_BUF_SYNC_START : DMA_BUF_SYNC_END),
	};

	if (b->memory == V4L2_MEMORY_DMABUF)
		call(b->fd, DMA_BUF_IOCTL_SYNC, &s);
}

static uint8_t pattern(uint32_t at, uint32_t seed)
{
	return (uint8_t)((at * 2654435761u + seed * 40503u) >> 11);
}

/* Wrong bytes in what the device copied: SAMPLES chunks spread over the frame, or all of it. */
static int wrong(const uint8_t *view, uint32_t seed, int samples)
{
	uint32_t chunk = samples ? CHUNK : bytes, n = samples ? samples : 1;
	int bad = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = n > 1 ? (uint64_t)(bytes - chunk) * i / (n - 1) : 0;

		for (uint32_t j = 0; j < chunk; j++)
			bad += view[at + j] != pattern(at + j, seed);
	}
	return bad;
}

/* Bytes go through the device from one buffer to the other; tells how it went. */
static void round_trip(const char *name, struct buffer *out, struct buffer *cap, int samples)
{
	int on[2] = { OUT, CAP }, error = 0, bad = -1;
	static uint32_t seed;

	seed++;
	cpu_access(out, 1);
	for (uint32_t i = 0; i < bytes; i++)
		out->view[i] = pattern(i, seed);
	cpu_access(out, 0);
	cpu_access(cap, 1);
	memset(cap->view, 0xee, bytes);
	cpu_access(cap, 0);
	error = qbuf(out);
	if (!error)
		error = qbuf(cap);
	if (!error)
		error = call(video, VIDIOC_STREAMON, &on[0]);
	if (!error)
		error = call(video, VIDIOC_STREAMON, &on[1]);
	if (!error)
		error = dqbuf(out);
	if (!error)
		error = dqbuf(cap);
	if (!error) {
		cpu_access(cap, 1);
		bad = wrong(cap->view, seed, samples);
		cpu_access(cap, 0);
	}
	call(video, VIDIOC_STREAMOFF, &on[0]);
	call(video, VIDIOC_STREAMOFF, &on[1]);
	step(name, "\"bytes\":%u,\"errno\":%d,\"wrong\":%d", bytes, error, bad);
}

/* Kinds of buffer, by name. */
static int make(struct buffer *b, int type, const char *kind)
{
	int ret = 0;

	*b = (struct buffer){ .type = type, .fd = -1 };
	if (!strcmp(kind, "coherent") || !strcmp(kind, "noncoherent")) {
		b->memory = V4L2_MEMORY_MMAP;
		ret = reqbufs(type, b->memory, 1,
			      kind[0] == 'n' ? V4L2_MEMORY_FLAG_NON_COHERENT : 0);
		return ret ? ret : mmap_buffer(b);
	}
	b->memory = !strcmp(kind, "userptr") ? V4L2_MEMORY_USERPTR : V4L2_MEMORY_DMABUF;
	ret = reqbufs(type, b->memory, 1, 0);
	if (ret)
		return ret;
	if (b->memory == V4L2_MEMORY_USERPTR) {
		b->view = scattered(bytes);
		return b->view == MAP_FAILED ? errno : 0;
	}
	b->fd = !strcmp(kind, "heap") ? heap_buffer(bytes) : udmabuf(bytes);
	if (b->fd < 0)
		return ENODEV;
	b->view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	return b->view == MAP_FAILED ? errno : 0;
}

static void unmake(struct buffer *b)
{
	if (b->view && b->view != MAP_FAILED)
		munmap(b->view, bytes);
	if (b->fd >= 0)
		close(b->fd);
	reqbufs(b->type, b->memory, 0, 0);
}

/* Every kind of memory on each side, by DMA and through the kernel's mapping. */
static void kinds(void)
{
	static const char *const all[] = { "coherent", "noncoherent", "userptr", "heap", "udmabuf" };
	struct buffer out, cap;
	char name[64];

	set_size(65536);
	for (unsigned int i = 0; i < 5; i++)
		for (unsigned int j = 0; j < 5; j++) {
			int error = make(&out, OUT, all[i]);

			if (i && j && i != j)
				goto next;
			if (!error)
				error = make(&cap, CAP, all[j]);
			else
				cap = (struct buffer){ .type = CAP, .memory = 1, .fd = -1 };
			snprintf(name, sizeof(name), "dma.%s.%s", all[i], all[j]);
			if (error)
				step(name, "\"errno\":%d", error);
			else
				round_trip(name, &out, &cap, 4);
			unmake(&cap);
next:
			unmake(&out);
		}
	parameter("cpu", "1");
	for (unsigned int i = 0; i < 5; i++) {
		int error;

		/* The stock module takes a program's memory for its own here, and the kernel oopses. */
		if (!strcmp(all[i], "userptr") && !strcmp(prefix, "c"))
			continue;
		error = make(&out, OUT, all[i]);
		if (!error)
			error = make(&cap, CAP, all[i]);
		snprintf(name, sizeof(name), "vmap.%s", all[i]);
		if (error)
			step(name, "\"errno\":%d", error);
		else
			round_trip(name, &out, &cap, 0);
		unmake(&cap);
		unmake(&out);
	}
	parameter("cpu", "0");
}

static long pages_not_zero(void)
{
	struct buffer b = { .type = CAP, .memory = V4L2_MEMORY_MMAP };
	long bad = 0;

	if (mmap_buffer(&b))
		return -1;
	for (uint32_t page = 0; page < bytes; page += 4096)
		for (uint32_t i = 0; i < 4096; i++)
			if (b.view[page + i]) {
				bad++;
				break;
			}
	munmap(b.view, bytes);
	return bad;
}

/* Memory handed out is clear, also where it is allocated in the unusual ways. */
static void zeroed(void)
{
	uint32_t dirty = 1200u << 20;
	uint8_t *other = mmap(NULL, dirty, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	memset(other, 0xa5, dirty);
	munmap(other, dirty);
	set_size(2 << 20);
	if (!reqbufs(CAP, V4L2_MEMORY_MMAP, 1, V4L2_MEMORY_FLAG_NON_COHERENT))
		step("zero.noncoherent", "\"dirty_pages\":%ld", pages_not_zero());
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
	parameter("attrs", "16");
	if (!reqbufs(CAP, V4L2_MEMORY_MMAP, 1, 0))
		step("zero.no-kernel-mapping", "\"dirty_pages\":%ld", pages_not_zero());
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
	parameter("attrs", "0");
}

/* Requests that make the stock module warn or fail: wishes that exclude each other, and sizes
 * beyond all memory. */
static void wishes(void)
{
	uint32_t flag = V4L2_MEMORY_FLAG_NON_COHERENT;

	set_size(65536);
	parameter("attrs", "16");
	step("wish.noncoherent+no-kernel-mapping", "\"errno\":%d",
	     reqbufs(CAP, V4L2_MEMORY_MMAP, 1, flag));
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
	parameter("attrs", "0");
	parameter("gfp", "4");
	step("wish.noncoherent+dma32", "\"errno\":%d", reqbufs(CAP, V4L2_MEMORY_MMAP, 1, flag));
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
	parameter("gfp", "0");
	/* The stock module has the OOM killer kill others first, the tests among them. */
	if (!strcmp(prefix, "c"))
		return;
	set_size(0xfffff000u);
	step("wish.huge", "\"errno\":%d", reqbufs(CAP, V4L2_MEMORY_MMAP, 1, 0));
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
	set_size(65536);
}

/* The errno of each refusal a program can provoke here. */
static void refusals(void)
{
	struct buffer b = { .type = CAP, .fd = -1 };
	uint8_t *at;

	set_size(65536);
	reqbufs(CAP, V4L2_MEMORY_USERPTR, 1, 0);
	b.memory = V4L2_MEMORY_USERPTR;
	b.view = (uint8_t *)0x10000;
	step("refuse.userptr.unmapped", "\"errno\":%d", qbuf(&b));
	at = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b.view = at;
	step("refuse.userptr.read-only", "\"errno\":%d", qbuf(&b));
	munmap(at, bytes);
	at = scattered(bytes);
	munmap(at + bytes - 4096, 4096);
	b.view = at;
	step("refuse.userptr.short", "\"errno\":%d", qbuf(&b));
	munmap(at, bytes - 4096);
	reqbufs(CAP, V4L2_MEMORY_DMABUF, 1, 0);
	b.memory = V4L2_MEMORY_DMABUF;
	b.fd = heap_buffer(4096);
	step("refuse.dmabuf.small", "\"errno\":%d", qbuf(&b));
	close(b.fd);
	b.fd = 0;
	step("refuse.dmabuf.no-dmabuf", "\"errno\":%d", qbuf(&b));
	reqbufs(CAP, V4L2_MEMORY_DMABUF, 0, 0);
}

int main(int argc, char **argv)
{
	prefix = argc > 2 ? argv[2] : "x";
	video = open(argv[1], O_RDWR);
	if (video < 0) {
		step("open", "\"ok\":false,\"errno\":%d", errno);
		return 1;
	}
	kinds();
	refusals();
	zeroed();
	wishes();
	return 0;
}
