// Captures frames and prints a line for each: frames COUNT FILE [NODE [BUSY_MS]]. Works for BUSY_MS on
// each frame.
//
//   frame SEQUENCE BYTESUSED ERROR LATE_MS TIMESTAMP_US     its bytes go to FILE
//   event TYPE CHANGES STATUS                  with the input's status
//   format WIDTH HEIGHT                        before each stream
//   failed CALL ERRNO                          the call is repeated
//   silence                                    no frame came for a second
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BUFFERS 3
#define TRIES 50

static int fd;
static unsigned char *maps[BUFFERS];
static size_t lengths[BUFFERS];
static int failures;

static void fail(const char *call)
{
	printf("failed %s %d\n", call, errno);
	if (++failures > TRIES)
		exit(1);
}

/* Repeats a call until it succeeds. */
static void must(unsigned long request, void *argument, const char *call)
{
	while (ioctl(fd, request, argument) < 0)
		fail(call);
}

static struct v4l2_buffer buffer(unsigned index)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	b.index = index;
	b.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	b.memory = V4L2_MEMORY_MMAP;
	return b;
}

static void start(void)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct v4l2_format format = { .type = type };
	struct v4l2_requestbuffers req = { .count = BUFFERS, .type = type, .memory = V4L2_MEMORY_MMAP };
	must(VIDIOC_G_FMT, &format, "G_FMT");
	printf("format %u %u\n", format.fmt.pix.width, format.fmt.pix.height);
	must(VIDIOC_REQBUFS, &req, "REQBUFS");
	for (unsigned i = 0; i < BUFFERS; i++) {
		struct v4l2_buffer b = buffer(i);
		must(VIDIOC_QUERYBUF, &b, "QUERYBUF");
		lengths[i] = b.length;
		maps[i] = mmap(NULL, b.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, b.m.offset);
		if (maps[i] == MAP_FAILED)
			exit(2);
		must(VIDIOC_QBUF, &b, "QBUF");
	}
	must(VIDIOC_STREAMON, &type, "STREAMON");
}

static void stop(void)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct v4l2_requestbuffers req = { .type = type, .memory = V4L2_MEMORY_MMAP };
	must(VIDIOC_STREAMOFF, &type, "STREAMOFF");
	for (unsigned i = 0; i < BUFFERS; i++)
		munmap(maps[i], lengths[i]);
	must(VIDIOC_REQBUFS, &req, "REQBUFS");
}

static long long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	int count = atoi(argv[1]);
	int busy_ms = argc > 4 ? atoi(argv[4]) : 0;
	FILE *file = fopen(argv[2], "wb");
	struct v4l2_event_subscription sub = { .type = V4L2_EVENT_SOURCE_CHANGE };
	fd = open(argc > 3 ? argv[3] : "/dev/video0", O_RDWR | O_NONBLOCK);
	if (fd < 0 || !file)
		return 2;
	ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &sub);
	start();
	while (count > 0) {
		struct pollfd waiting = { .fd = fd, .events = POLLIN | POLLPRI };
		if (poll(&waiting, 1, 1000) == 0) {
			printf("silence\n");
			if (++failures > TRIES)
				return 1;
		}
		if (waiting.revents & POLLPRI) {
			struct v4l2_event event;
			struct v4l2_input input;
			memset(&event, 0, sizeof(event));
			memset(&input, 0, sizeof(input));
			must(VIDIOC_DQEVENT, &event, "DQEVENT");
			must(VIDIOC_ENUMINPUT, &input, "ENUMINPUT");
			printf("event %u %u %u\n", event.type, event.u.src_change.changes, input.status);
			if (input.status == 0) {
				stop();
				start();
			}
		} else if (waiting.revents & POLLIN) {
			struct v4l2_buffer b = buffer(0);
			if (ioctl(fd, VIDIOC_DQBUF, &b) < 0) {
				fail("DQBUF");
				continue;
			}
			long long taken = b.timestamp.tv_sec * 1000LL + b.timestamp.tv_usec / 1000;
			printf("frame %u %u %d %lld %lld\n", b.sequence, b.bytesused,
			       !!(b.flags & V4L2_BUF_FLAG_ERROR), now_ms() - taken,
			       b.timestamp.tv_sec * 1000000LL + b.timestamp.tv_usec);
			for (long long end = now_ms() + busy_ms; busy_ms > 0 && now_ms() < end;)
				;
			fwrite(maps[b.index], 1, b.bytesused, file);
			must(VIDIOC_QBUF, &b, "QBUF");
			count--;
		}
	}
	stop();
	return fclose(file);
}
