// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Calls that conform.c cannot make, because its device only captures and has no user pointers.
 *
 *   kinds output DEVICE EXPORTER   an output device, and a camera whose dma-bufs are large enough
 *   kinds userptr DEVICE           a capture queue that takes user pointers
 */
#define _GNU_SOURCE
#include "conform.h"

#define USERPTR V4L2_MEMORY_USERPTR

static uint32_t size_of(int type)
{
	struct v4l2_format f = { .type = type };

	return call(fd, VIDIOC_G_FMT, &f) ? 0 : f.fmt.pix.sizeimage;
}

static int put(int type, int memory, uint32_t index, unsigned long where, uint32_t length,
	       uint32_t bytes)
{
	struct v4l2_buffer b = buffer(type, memory, index);

	b.field = V4L2_FIELD_NONE;
	b.length = length;
	b.bytesused = bytes;
	if (memory == USERPTR)
		b.m.userptr = where;
	if (memory == DMABUF)
		b.m.fd = (int)where;
	return call(fd, VIDIOC_QBUF, &b);
}

static int events(void)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	poll(&p, 1, 0);
	return p.revents;
}

static void output(void)
{
	struct v4l2_buffer b = buffer(OUT, MMAP, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	size_t length;
	char byte = 0;

	check("output.reqbufs.other-type", reqbufs(fd, CAP, MMAP, 2));
	check("output.reqbufs", reqbufs(fd, OUT, MMAP, 3));
	check("output.querybuf", call(fd, VIDIOC_QUERYBUF, &b));
	length = b.length;
	try_mmap("output.mmap.read", fd, 4096, PROT_READ, MAP_SHARED, b.m.offset);
	try_mmap("output.mmap.write", fd, 4096, PROT_WRITE, MAP_SHARED, b.m.offset);
	try_mmap("output.mmap.read-write", fd, length, PROT_READ | PROT_WRITE, MAP_SHARED,
		 b.m.offset);
	number("output.poll.not-streaming", events());
	check("output.write.buffers-exist", write(fd, &byte, 1) < 0 ? -1 : 0);
	check("output.read.wrong-way", read(fd, &byte, 1) < 0 ? -1 : 0);
	check("output.qbuf.too-much", put(OUT, MMAP, 0, 0, 0, ((size + 4095) & ~4095u) + 1));
	b = buffer(OUT, MMAP, 0);
	b.field = V4L2_FIELD_NONE;
	check("output.qbuf.nothing-used", call(fd, VIDIOC_QBUF, &b));
	number("output.qbuf.means-all", b.bytesused == b.length);
	check("output.qbuf", put(OUT, MMAP, 1, 0, 0, size));
	check("output.qbuf.again", put(OUT, MMAP, 1, 0, 0, size));
	check("output.dqbuf.not-streaming", on_buffer(fd, VIDIOC_DQBUF, OUT, MMAP, 0));
	check("output.streamon.other-type", call(fd, VIDIOC_STREAMON, &(int){ CAP }));
	check("output.streamon", call(fd, VIDIOC_STREAMON, &(int){ OUT }));
	check("output.reqbufs.streaming", reqbufs(fd, OUT, MMAP, 0));
	number("output.poll", poll(&p, 1, 5000) == 1 && (p.revents & POLLOUT));
	b = buffer(OUT, MMAP, 0);
	check("output.dqbuf", call(fd, VIDIOC_DQBUF, &b));
	number("output.dqbuf.in-order", b.index);
	check("output.streamoff.other-type", call(fd, VIDIOC_STREAMOFF, &(int){ CAP }));
	check("output.streamoff", call(fd, VIDIOC_STREAMOFF, &(int){ OUT }));
	check("output.release", reqbufs(fd, OUT, MMAP, 0));
}

static void output_imports(const char *exporter)
{
	struct v4l2_exportbuffer e = { .type = CAP, .flags = O_RDWR };
	int camera = open(exporter, O_RDWR), null = open("/dev/null", O_RDWR);
	struct v4l2_format f = { .type = CAP };

	call(camera, VIDIOC_G_FMT, &f);
	number("output.import.exporter", f.fmt.pix.sizeimage >= size &&
	       !reqbufs(camera, CAP, MMAP, 2) && !call(camera, VIDIOC_EXPBUF, &e));
	check("output.import.reqbufs", reqbufs(fd, OUT, DMABUF, 2));
	check("output.import.no-fd", put(OUT, DMABUF, 0, -1, 0, size));
	check("output.import.no-dmabuf", put(OUT, DMABUF, 0, null, 0, size));
	check("output.import.closed-fd", put(OUT, DMABUF, 0, 12345, 0, size));
	check("output.import.good", put(OUT, DMABUF, 0, e.fd, 0, size));
	check("output.import.queued-already", put(OUT, DMABUF, 0, e.fd, 0, size));
	call(fd, VIDIOC_STREAMOFF, &(int){ OUT });
	check("output.import.back-again", put(OUT, DMABUF, 0, e.fd, 0, size));
	call(fd, VIDIOC_STREAMOFF, &(int){ OUT });
	check("output.import.bad-after-good", put(OUT, DMABUF, 0, null, 0, size));
	check("output.import.good-after-bad", put(OUT, DMABUF, 0, e.fd, 0, size));
	call(fd, VIDIOC_STREAMOFF, &(int){ OUT });
	check("output.import.expbuf", call(fd, VIDIOC_EXPBUF, &(struct v4l2_exportbuffer){ .type = OUT }));
	check("output.import.release", reqbufs(fd, OUT, DMABUF, 0));
	close(e.fd);
	close(camera);
	close(null);
}

static void userptr(void)
{
	size_t span = ((size + 4095) & ~4095ul) + 8192;
	uint8_t *at = mmap(NULL, span, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	uint8_t *fixed = mmap(NULL, span, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
			      -1, 0);
	uint8_t *shrunk = mmap(NULL, span, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct v4l2_create_buffers c = { .count = 1, .memory = USERPTR };
	struct v4l2_exportbuffer e = { .type = CAP };
	unsigned long good = (unsigned long)at, short_one;

	munmap(shrunk + span - 8192, 8192);
	short_one = (unsigned long)shrunk + span - 8192 - size / 2;
	check("userptr.reqbufs", reqbufs(fd, CAP, USERPTR, 2));
	try_mmap("userptr.mmap", fd, 4096, PROT_READ, MAP_SHARED, 0);
	check("userptr.expbuf", call(fd, VIDIOC_EXPBUF, &e));
	check("userptr.qbuf.other-memory", put(CAP, MMAP, 0, 0, 0, 0));
	check("userptr.qbuf.bad-index", put(CAP, USERPTR, 64, good, size, 0));
	check("userptr.qbuf.too-short", put(CAP, USERPTR, 0, good, size / 2, 0));
	check("userptr.qbuf.unmapped", put(CAP, USERPTR, 0, 0x10000, size, 0));
	check("userptr.qbuf.null", put(CAP, USERPTR, 0, 0, size, 0));
	check("userptr.qbuf.kernel-half", put(CAP, USERPTR, 0, 0xffff800000000000ul, size, 0));
	check("userptr.qbuf.read-only", put(CAP, USERPTR, 0, (unsigned long)fixed, size, 0));
	check("userptr.qbuf.ends-unmapped", put(CAP, USERPTR, 0, short_one, size, 0));
	check("userptr.qbuf.enormous", put(CAP, USERPTR, 0, good, 0xfffff000u, 0));
	check("userptr.qbuf", put(CAP, USERPTR, 0, good, size, 0));
	check("userptr.qbuf.again", put(CAP, USERPTR, 0, good, size, 0));
	check("userptr.prepare.queued", on_buffer(fd, VIDIOC_PREPARE_BUF, CAP, USERPTR, 0));
	check("userptr.qbuf.shared-memory", put(CAP, USERPTR, 1, good, size, 0));
	check("userptr.streamoff", call(fd, VIDIOC_STREAMOFF, &(int){ CAP }));
	check("userptr.qbuf.odd-address", put(CAP, USERPTR, 0, good + 1, size, 0));
	check("userptr.qbuf.bad-after-good", put(CAP, USERPTR, 1, 0x10000, size, 0));
	check("userptr.qbuf.good-after-bad", put(CAP, USERPTR, 1, good, size, 0));
	call(fd, VIDIOC_STREAMOFF, &(int){ CAP });
	call(fd, VIDIOC_G_FMT, &(struct v4l2_format){ .type = CAP });
	c.format.type = CAP;
	call(fd, VIDIOC_G_FMT, &c.format);
	check("userptr.create", call(fd, VIDIOC_CREATE_BUFS, &c));
	check("userptr.release", reqbufs(fd, CAP, USERPTR, 0));
}

int main(int argc, char **argv)
{
	if (argc < 3 || (fd = open(argv[2], O_RDWR | O_NONBLOCK)) < 0) {
		perror("kinds");
		return 1;
	}
	if (!strcmp(argv[1], "output") && argc == 4) {
		size = size_of(OUT);
		output();
		output_imports(argv[3]);
	} else if (!strcmp(argv[1], "userptr")) {
		struct v4l2_format f = { .type = CAP };

		/* Requests less than a page if possible, since that is contiguous on every machine. */
		call(fd, VIDIOC_G_FMT, &f);
		f.fmt.pix.sizeimage = 2048;
		call(fd, VIDIOC_S_FMT, &f);
		size = size_of(CAP);
		userptr();
	} else {
		return 2;
	}
	return 0;
}
