// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Makes the same calls on every implementation of the buffer queue: stock Linux, our kernel module, `vb3
 * run`. Prints one line per call with the call's name and result: an errno, or a value that does not depend
 * on the device. The device is a single-planar capture device with MMAP and DMABUF.
 *
 *   conform /dev/videoN
 */
#define _GNU_SOURCE
#include "conform.h"

static int other;

static void requesting(void)
{
	struct v4l2_create_buffers c = { .count = 0, .memory = MMAP };

	check("reqbufs.other-type", reqbufs(fd, OUT, MMAP, 2));
	check("reqbufs.memory-0", reqbufs(fd, CAP, 0, 2));
	check("reqbufs.memory-99", reqbufs(fd, CAP, 99, 2));
	check("reqbufs.none", reqbufs(fd, CAP, MMAP, 0));
	c.format.type = CAP;
	call(fd, VIDIOC_G_FMT, &c.format);
	size = c.format.fmt.pix.sizeimage;
	check("create.count-0", call(fd, VIDIOC_CREATE_BUFS, &c));
	c.memory = 99;
	check("create.memory-99", call(fd, VIDIOC_CREATE_BUFS, &c));
	c.memory = MMAP;
	c.count = 1;
	c.format.fmt.pix.sizeimage = 0;
	check("create.size-0", call(fd, VIDIOC_CREATE_BUFS, &c));
	check("querybuf.no-buffers", on_buffer(fd, VIDIOC_QUERYBUF, CAP, MMAP, 0));
	check("streamon.no-buffers", call(fd, VIDIOC_STREAMON, &(int){ CAP }));
	check("streamoff.no-buffers", call(fd, VIDIOC_STREAMOFF, &(int){ CAP }));
	check("dqbuf.no-buffers", on_buffer(fd, VIDIOC_DQBUF, CAP, MMAP, 0));
	try_mmap("mmap.no-buffers", fd, 4096, PROT_READ, MAP_SHARED, 0);
	check("reqbufs.mmap", reqbufs(fd, CAP, MMAP, 4));
}

static void querying(void)
{
	check("querybuf", on_buffer(fd, VIDIOC_QUERYBUF, CAP, MMAP, 0));
	check("querybuf.bad-index", on_buffer(fd, VIDIOC_QUERYBUF, CAP, MMAP, 64));
	check("querybuf.index-max", on_buffer(fd, VIDIOC_QUERYBUF, CAP, MMAP, ~0u));
	check("querybuf.other-memory", on_buffer(fd, VIDIOC_QUERYBUF, CAP, DMABUF, 0));
	check("querybuf.other-type", on_buffer(fd, VIDIOC_QUERYBUF, OUT, MMAP, 0));
	check("qbuf.other-type", on_buffer(fd, VIDIOC_QBUF, OUT, MMAP, 0));
	check("qbuf.other-memory", on_buffer(fd, VIDIOC_QBUF, CAP, DMABUF, 0));
	check("qbuf.bad-index", on_buffer(fd, VIDIOC_QBUF, CAP, MMAP, 64));
	check("qbuf", on_buffer(fd, VIDIOC_QBUF, CAP, MMAP, 0));
	check("qbuf.again", on_buffer(fd, VIDIOC_QBUF, CAP, MMAP, 0));
	check("dqbuf.not-streaming", on_buffer(fd, VIDIOC_DQBUF, CAP, MMAP, 0));
	check("dqbuf.other-type", on_buffer(fd, VIDIOC_DQBUF, OUT, MMAP, 0));
	check("prepare", on_buffer(fd, VIDIOC_PREPARE_BUF, CAP, MMAP, 1));
	check("prepare.again", on_buffer(fd, VIDIOC_PREPARE_BUF, CAP, MMAP, 1));
	check("prepare.bad-index", on_buffer(fd, VIDIOC_PREPARE_BUF, CAP, MMAP, 64));
	check("qbuf.prepared", on_buffer(fd, VIDIOC_QBUF, CAP, MMAP, 1));
	check("streamoff.gives-back", call(fd, VIDIOC_STREAMOFF, &(int){ CAP }));
	check("qbuf.after-streamoff", on_buffer(fd, VIDIOC_QBUF, CAP, MMAP, 0));
	check("streamoff", call(fd, VIDIOC_STREAMOFF, &(int){ CAP }));
}

static void second_handle(const char *path)
{
	int got;

	other = open(path, O_RDWR | O_NONBLOCK);
	check("second.reqbufs", reqbufs(other, CAP, MMAP, 1));
	check("second.reqbufs-0", reqbufs(other, CAP, MMAP, 0));
	check("second.querybuf", on_buffer(other, VIDIOC_QUERYBUF, CAP, MMAP, 0));
	check("second.qbuf", on_buffer(other, VIDIOC_QBUF, CAP, MMAP, 0));
	check("second.dqbuf", on_buffer(other, VIDIOC_DQBUF, CAP, MMAP, 0));
	check("second.prepare", on_buffer(other, VIDIOC_PREPARE_BUF, CAP, MMAP, 0));
	check("second.streamon", call(other, VIDIOC_STREAMON, &(int){ CAP }));
	check("second.expbuf", expbuf(other, 0, 0, O_RDWR, &got));
	try_mmap("second.mmap", other, 4096, PROT_READ, MAP_SHARED, offset_of(0));
	close(other);
	check("second.closed-changes-nothing", on_buffer(fd, VIDIOC_QUERYBUF, CAP, MMAP, 0));
}

static void mapping(void)
{
	long at = offset_of(0);
	size_t length = (size + 4095) & ~4095ul;

	try_mmap("mmap.private", fd, length, PROT_READ, MAP_PRIVATE, at);
	try_mmap("mmap.read", fd, length, PROT_READ, MAP_SHARED, at);
	try_mmap("mmap.read-write", fd, length, PROT_READ | PROT_WRITE, MAP_SHARED, at);
	try_mmap("mmap.write", fd, length, PROT_WRITE, MAP_SHARED, at);
	try_mmap("mmap.none", fd, length, PROT_NONE, MAP_SHARED, at);
	try_mmap("mmap.unknown-offset", fd, 4096, PROT_READ, MAP_SHARED, 0x3f000000);
	try_mmap("mmap.second-plane", fd, 4096, PROT_READ, MAP_SHARED, at + 4096);
	try_mmap("mmap.longer", fd, length + 4096, PROT_READ, MAP_SHARED, at);
	try_mmap("mmap.shorter", fd, 4096, PROT_READ, MAP_SHARED, at);
}

static int sync_call(int buf, uint64_t flags)
{
	struct dma_buf_sync s = { .flags = flags };

	return call(buf, DMA_BUF_IOCTL_SYNC, &s);
}

static void exporting(void)
{
	size_t length = (size + 4095) & ~4095ul;
	int buf, again, copy, status;
	uint8_t *view, *same;
	long at = offset_of(0);

	check("expbuf.bad-index", expbuf(fd, 64, 0, O_RDWR, &buf));
	check("expbuf.bad-plane", expbuf(fd, 0, 1, O_RDWR, &buf));
	check("expbuf.nonblock", expbuf(fd, 0, 0, O_RDWR | O_NONBLOCK, &buf));
	check("expbuf", expbuf(fd, 0, 0, O_RDWR | O_CLOEXEC, &buf));
	check("expbuf.again", expbuf(fd, 0, 0, O_RDWR, &again));
	number("expbuf.another-fd", again != buf);
	number("buf.size-is-page-aligned", lseek(buf, 0, SEEK_END) == (long)length);
	check("buf.seek-set", lseek(buf, 0, SEEK_SET));
	check("buf.seek-cur", lseek(buf, 0, SEEK_CUR));
	check("buf.unknown-ioctl", call(buf, _IO('b', 99), NULL));
	check("sync.none", sync_call(buf, 0));
	check("sync.start", sync_call(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	check("sync.end", sync_call(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	check("sync.end-without-start", sync_call(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
	check("sync.unknown-bit", sync_call(buf, 0x80));
	check("sync.bad-pointer", call(buf, DMA_BUF_IOCTL_SYNC, NULL));
	check("set-name", call(buf, DMA_BUF_SET_NAME, "frame"));
	check("set-name.long", call(buf, DMA_BUF_SET_NAME, "0123456789012345678901234567890123456789"));
	view = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	same = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
	check("buf.mmap", view == MAP_FAILED ? -1 : 0);
	if (view == MAP_FAILED || same == MAP_FAILED)
		return;
	view[4096] = 0x5a;
	number("buf.shows-the-buffer", same[4096]);
	copy = dup(buf);
	close(buf);
	check("dup.sync", sync_call(copy, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	if (fork() == 0)
		_exit(view[4096]);
	wait(&status);
	number("fork.sees-the-bytes", WEXITSTATUS(status));
	try_mmap("buf.mmap.past-the-end", copy, length + 4096, PROT_READ, MAP_SHARED, 0);
	try_mmap("buf.mmap.private", copy, length, PROT_READ, MAP_PRIVATE, 0);
	check("orphan.reqbufs-0", reqbufs(fd, CAP, MMAP, 0));
	number("orphan.still-there", view[4096] == 0x5a && same[4096] == 0x5a);
	try_mmap("orphan.old-offset", fd, 4096, PROT_READ, MAP_SHARED, at);
	try_mmap("orphan.buf.mmap", copy, length, PROT_READ, MAP_SHARED, 0);
	check("orphan.new-buffers", reqbufs(fd, CAP, MMAP, 2));
	number("orphan.is-its-own-memory", view[4096]);
	munmap(view, length);
	munmap(same, length);
	check("orphan.sync", sync_call(copy, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	close(copy);
	close(again);
	reqbufs(fd, CAP, MMAP, 0);
}

static void streaming(void)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct v4l2_buffer b = buffer(CAP, MMAP, 0);
	int flags = fcntl(fd, F_GETFL), got;

	reqbufs(fd, CAP, MMAP, 3);
	for (uint32_t i = 0; i < 3; i++)
		on_buffer(fd, VIDIOC_QBUF, CAP, MMAP, i);
	check("streamon", call(fd, VIDIOC_STREAMON, &(int){ CAP }));
	check("streamon.again", call(fd, VIDIOC_STREAMON, &(int){ CAP }));
	check("reqbufs.streaming", reqbufs(fd, CAP, MMAP, 2));
	check("expbuf.streaming", expbuf(fd, 1, 0, O_RDWR, &got));
	number("poll", poll(&p, 1, 5000) == 1 && (p.revents & POLLIN));
	fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	check("dqbuf", call(fd, VIDIOC_DQBUF, &b));
	number("dqbuf.full", b.bytesused == size);
	number("dqbuf.first-sequence", b.sequence);
	check("qbuf.back", on_buffer(fd, VIDIOC_QBUF, CAP, MMAP, b.index));
	check("dqbuf.other-memory", on_buffer(fd, VIDIOC_DQBUF, CAP, DMABUF, 0));
	check("streamoff.streaming", call(fd, VIDIOC_STREAMOFF, &(int){ CAP }));
	check("dqbuf.after-streamoff", on_buffer(fd, VIDIOC_DQBUF, CAP, MMAP, 0));
	fcntl(fd, F_SETFL, flags);
	close(got);
	check("reqbufs.release", reqbufs(fd, CAP, MMAP, 0));
}

static void importing(void)
{
	struct v4l2_buffer b = buffer(CAP, DMABUF, 0);
	int null = open("/dev/null", O_RDWR);

	check("import.reqbufs", reqbufs(fd, CAP, DMABUF, 2));
	b.m.fd = -1;
	check("import.no-fd", call(fd, VIDIOC_QBUF, &b));
	b.m.fd = null;
	check("import.no-dmabuf", call(fd, VIDIOC_QBUF, &b));
	b.m.fd = 12345;
	check("import.closed-fd", call(fd, VIDIOC_QBUF, &b));
	try_mmap("import.mmap", fd, 4096, PROT_READ, MAP_SHARED, 0);
	check("import.release", reqbufs(fd, CAP, DMABUF, 0));
	close(null);
}

int main(int argc, char **argv)
{
	if (argc != 2 || (fd = open(argv[1], O_RDWR | O_NONBLOCK)) < 0) {
		perror("conform");
		return 1;
	}
	alarm(480);
	requesting();
	querying();
	second_handle(argv[1]);
	mapping();
	exporting();
	streaming();
	importing();
	return 0;
}
