// The rows of the errno table for a multi-planar device with two planes:
// rows_mplane cap|out NODE EXPORTER.
#include "rows.h"

static struct v4l2_buffer with_planes(unsigned index, struct v4l2_plane *at, unsigned count)
{
	struct v4l2_buffer b = buffer(index);
	b.m.planes = at;
	b.length = count;
	return b;
}

static void creating(int fd)
{
	static const struct {
		const char *id;
		unsigned planes;
	} COUNTS[] = { { "planes.create.none", 0 }, { "planes.create.nine", 9 }, { "planes.create.one", 1 }, { "planes.create.two", 2 } };
	for (unsigned i = 0; i < 4; i++) {
		struct v4l2_create_buffers c = creation(fd, 1, V4L2_MEMORY_MMAP);
		c.format.fmt.pix_mp.num_planes = (unsigned char)COUNTS[i].planes;
		say(COUNTS[i].id, create(fd, c));
	}
	mmap_buffers(fd, 0);
}

static void arrays(int fd)
{
	mmap_buffers(fd, 2);
	say("planes.querybuf.one", call(fd, VIDIOC_QUERYBUF, with_planes(0, plane_array, 1)));
	say("planes.querybuf.nine", call(fd, VIDIOC_QUERYBUF, with_planes(0, plane_array, 9)));
	say("planes.querybuf.null", call(fd, VIDIOC_QUERYBUF, with_planes(0, NULL, 2)));
	say("planes.querybuf.bad-pointer", call(fd, VIDIOC_QUERYBUF, with_planes(0, (struct v4l2_plane *)8, 2)));
	say("planes.querybuf.eight", call(fd, VIDIOC_QUERYBUF, with_planes(0, plane_array, 8)));
	say("planes.prepare.one", call(fd, VIDIOC_PREPARE_BUF, with_planes(0, plane_array, 1)));
	say("planes.expbuf.third", export_buffer(fd, 0, 2, O_RDWR));
	say("planes.expbuf.second", export_buffer(fd, 0, 1, O_RDWR));
	if (out) {
		struct v4l2_buffer b = buffer(0);
		plane_array[0].bytesused = size;
		plane_array[1].bytesused = 1u << 30;
		say("planes.qbuf.too-much", call(fd, VIDIOC_QBUF, b));
		b = buffer(0);
		plane_array[0].bytesused = plane_array[0].data_offset = 64;
		plane_array[1].bytesused = 64;
		say("planes.qbuf.all-offset", call(fd, VIDIOC_QBUF, b));
	}
	if (stream(fd, 1) < 0)
		die("STREAMON");
	say("planes.dqbuf.none-done", call(fd, VIDIOC_DQBUF, with_planes(0, plane_array, 1)));
	say("planes.dqbuf.nine", call(fd, VIDIOC_DQBUF, with_planes(0, plane_array, 9)));
	if (qbuf(fd, 0) < 0)
		die("QBUF");
	struct pollfd p = { .fd = fd, .events = out ? POLLOUT : POLLIN };
	if (poll(&p, 1, 2000) != 1)
		die("poll");
	say("planes.dqbuf.one", call(fd, VIDIOC_DQBUF, with_planes(0, plane_array, 1)));
	say("planes.dqbuf.null", call(fd, VIDIOC_DQBUF, with_planes(0, NULL, 2)));
	say("planes.dqbuf.then-good", call(fd, VIDIOC_DQBUF, buffer(0)));
	stream(fd, 0);
	mmap_buffers(fd, 0);
}

static long queue_dmabufs(int fd, unsigned index, int first, unsigned length0, int second, unsigned length1)
{
	struct v4l2_buffer b = buffer(index);
	b.memory = V4L2_MEMORY_DMABUF;
	plane_array[0].m.fd = first;
	plane_array[0].length = length0;
	plane_array[1].m.fd = second;
	plane_array[1].length = length1;
	return call(fd, VIDIOC_QBUF, b);
}

static void imports(int fd)
{
	struct v4l2_format f = get_format(fd, type);
	unsigned chroma = f.fmt.pix_mp.plane_fmt[1].sizeimage;
	int good = foreign_dmabuf(size);
	if (request(fd, type, V4L2_MEMORY_DMABUF, 4) < 0)
		die("REQBUFS for DMABUF");
	// A plane that is too small, repeatedly: a failure must leave nothing behind.
	long result = 0;
	for (int i = 0; i < 10; i++)
		result = queue_dmabufs(fd, (unsigned)i % 4, good, size, good, 16 * size);
	say("planes.import.first-too-small", result);
	// One dma-buf for both planes, and longer than the second.
	say("planes.import.second-too-long", queue_dmabufs(fd, 0, good, size, good, 16 * size));
	say("planes.import.one-for-both", queue_dmabufs(fd, 0, good, size, good, chroma));
	stream(fd, 0);
	say("planes.import.no-lengths", queue_dmabufs(fd, 1, good, 0, good, 0));
	if (out) {
		struct v4l2_buffer b = buffer(1);
		if (ioctl(fd, VIDIOC_QUERYBUF, &b) < 0)
			die("QUERYBUF");
		say("planes.import.means-all", plane_array[0].bytesused == plane_array[0].length && plane_array[0].length >= size);
	}
	close(good);
}

int main(int argc, char **argv)
{
	set_up(argc, argv, 1);
	if (planes != 2) {
		fprintf(stderr, "rows: the format has %u planes instead of 2\n", planes);
		return 1;
	}
	int fd = device();
	unsigned char byte[16];
	say("planes.transfer", transfer(fd, byte, sizeof(byte)));
	creating(fd);
	arrays(fd);
	imports(fd);
	close(fd);
	return 0;
}
