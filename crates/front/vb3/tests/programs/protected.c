// Devices share a buffer of a protected heap, which the CPU cannot access. Prints one line per call.
// Arguments: the heap, a camera and a display that may use it, and a display that may not.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (320 * 240 * 2)

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

static int allocate(int heap, unsigned flags)
{
	struct dma_heap_allocation_data data = { .len = SIZE, .fd_flags = flags };
	return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) ? -1 : (int)data.fd;
}

static int open_device(const char *path, int type)
{
	struct v4l2_requestbuffers req = { .count = 1, .type = type, .memory = V4L2_MEMORY_DMABUF };
	int fd = open(path, O_RDWR);
	say(path, fd < 0 ? -1 : ioctl(fd, VIDIOC_REQBUFS, &req));
	return fd;
}

static int call(int fd, unsigned long request, int type, int buf)
{
	struct v4l2_buffer buffer = { .type = type, .memory = V4L2_MEMORY_DMABUF, .m.fd = buf,
				      .bytesused = SIZE };
	return ioctl(fd, request, &buffer);
}

static const char *shows(int fd)
{
	static char bytes[SIZE];
	memset(bytes, 1, sizeof bytes);
	ssize_t length = pread(fd, bytes, sizeof bytes, 0);
	for (ssize_t i = 0; i < length; i++)
		if (bytes[i])
			return "bytes of the buffer";
	return "nothing";
}

int main(int argc, char **argv)
{
	int in = V4L2_BUF_TYPE_VIDEO_CAPTURE, out = V4L2_BUF_TYPE_VIDEO_OUTPUT;
	if (argc != 5)
		return 2;
	int heap = open(argv[1], O_RDWR | O_CLOEXEC);
	int buf = allocate(heap, O_RDWR | O_CLOEXEC);
	say("alloc", buf);
	struct stat stat;
	fstat(buf, &stat);
	printf("bytes: %ld, of the file %ld\n", (long)lseek(buf, 0, SEEK_END), (long)stat.st_size);
	int reading = allocate(heap, O_RDONLY);
	say("alloc for reading", reading);
	say("mmap of it", (long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, reading, 0));
	close(reading);

	int camera = open_device(argv[2], in), display = open_device(argv[3], out);
	int other = open_device(argv[4], out);
	say("QBUF at the camera", call(camera, VIDIOC_QBUF, in, buf));
	say("STREAMON", ioctl(camera, VIDIOC_STREAMON, &in));
	say("DQBUF", call(camera, VIDIOC_DQBUF, in, 0));

	say("mmap", (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0));
	say("private mmap", (long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, buf, 0));
	char byte = 1;
	say("pread", pread(buf, &byte, 1, 0));
	say("pwrite", pwrite(buf, &byte, 1, 0));
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
	say("SYNC", ioctl(buf, DMA_BUF_IOCTL_SYNC, &sync));
	// At a number outside the kept ones, the file itself answers.
	int copy = dup2(buf, 20);
	printf("a copy shows: %s\n", shows(copy));
	say("pwrite to it", pwrite(copy, &byte, 1, 0));
	say("mmap of it", (long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, copy, 0));

	say("QBUF at a display that may not", call(other, VIDIOC_QBUF, out, buf));
	say("QBUF at one that may", call(display, VIDIOC_QBUF, out, copy));
	say("STREAMON", ioctl(display, VIDIOC_STREAMON, &out));
	say("DQBUF", call(display, VIDIOC_DQBUF, out, 0));
	return 0;
}
