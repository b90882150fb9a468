// A camera in one process, a display in another: buffers pass by SCM_RIGHTS, without a copy.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFERS 4
#define FRAMES 12

static void must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "pass: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static void send_fd(int to, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	must(sendmsg(to, &message, 0), "sendmsg");
}

static int receive_fd(int from)
{
	int fd;
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	must(recvmsg(from, &message, 0), "recvmsg");
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS) {
		fprintf(stderr, "pass: no descriptor came\n");
		exit(1);
	}
	memcpy(&fd, CMSG_DATA(header), sizeof(int));
	return fd;
}

static struct v4l2_buffer buffer(unsigned type, unsigned memory, unsigned index)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	b.type = type;
	b.memory = memory;
	b.index = index;
	return b;
}

static void allocate(int fd, unsigned type, unsigned memory)
{
	struct v4l2_requestbuffers request = { .count = BUFFERS, .type = type, .memory = memory };
	must(ioctl(fd, VIDIOC_REQBUFS, &request), "REQBUFS");
	if (request.count != BUFFERS) {
		fprintf(stderr, "pass: %u buffers instead of %u\n", request.count, BUFFERS);
		exit(1);
	}
}

// Shows received buffers, and reports when each is free again.
static void display(int peer)
{
	unsigned type = V4L2_BUF_TYPE_VIDEO_OUTPUT, size;
	int fds[BUFFERS], shown = 0, fd = open("/dev/video1", O_RDWR);
	must(fd, "/dev/video1");
	struct v4l2_format format = { .type = type };
	must(ioctl(fd, VIDIOC_G_FMT, &format), "G_FMT");
	size = format.fmt.pix.sizeimage;
	allocate(fd, type, V4L2_MEMORY_DMABUF);
	for (unsigned i = 0; i < BUFFERS; i++)
		fds[i] = receive_fd(peer);
	for (unsigned char index; read(peer, &index, 1) == 1;) {
		struct v4l2_buffer b = buffer(type, V4L2_MEMORY_DMABUF, index);
		b.m.fd = fds[index];
		b.bytesused = b.length = size;
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF at the display");
		if (shown++ == 0)
			must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON at the display");
		must(ioctl(fd, VIDIOC_DQBUF, &b), "DQBUF at the display");
		index = (unsigned char)b.index;
		must(write(peer, &index, 1), "write");
	}
	exit(0);
}

int main(void)
{
	int pair[2], status;
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	pid_t child = fork();
	must(child, "fork");
	if (child == 0) {
		close(pair[0]);
		display(pair[1]);
	}
	close(pair[1]);
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	int fd = open("/dev/video0", O_RDWR);
	must(fd, "/dev/video0");
	allocate(fd, type, V4L2_MEMORY_MMAP);
	for (unsigned i = 0; i < BUFFERS; i++) {
		struct v4l2_exportbuffer e = { .type = type, .index = i, .flags = O_RDWR | O_CLOEXEC };
		must(ioctl(fd, VIDIOC_EXPBUF, &e), "EXPBUF");
		send_fd(pair[0], e.fd);
		close(e.fd);
		struct v4l2_buffer b = buffer(type, V4L2_MEMORY_MMAP, i);
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF at the camera");
	}
	must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON at the camera");
	for (int i = 0; i < FRAMES; i++) {
		struct v4l2_buffer b = buffer(type, V4L2_MEMORY_MMAP, 0);
		must(ioctl(fd, VIDIOC_DQBUF, &b), "DQBUF at the camera");
		unsigned char index = (unsigned char)b.index;
		must(write(pair[0], &index, 1), "write");
		if (read(pair[0], &index, 1) != 1) {
			fprintf(stderr, "pass: the display is gone\n");
			return 1;
		}
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF at the camera");
	}
	close(pair[0]);
	must(waitpid(child, &status, 0), "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
