// Tests media requests on a memory-to-memory device: the table's rows, the effect of controls on
// pictures, and waits for requests. requests VIDEO MEDIA [none|kill]
#include "rows.h"
#include <linux/media.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>

enum { BUFFERS = 4 };

static const char *media;
static unsigned capture_type;

static int request_new(int from)
{
	int fd = -1;
	return ioctl(from, MEDIA_IOC_REQUEST_ALLOC, &fd) < 0 ? -1 : fd;
}

static int a_request(void)
{
	int from = open_node(media, 0), fd = request_new(from);
	if (fd < 0)
		die("REQUEST_ALLOC");
	close(from);
	return fd;
}

static struct v4l2_buffer a_buffer(unsigned of, unsigned index)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	b.index = index;
	b.type = of;
	b.memory = V4L2_MEMORY_MMAP;
	if (mplane) {
		memset(plane_array, 0, sizeof(plane_array));
		b.m.planes = plane_array;
		b.length = 3;
	}
	return b;
}

static long give(int fd, unsigned long call, unsigned of, unsigned index, int request_fd)
{
	struct v4l2_buffer b = a_buffer(of, index);
	if (request_fd != -2) {
		b.flags = V4L2_BUF_FLAG_REQUEST_FD;
		b.request_fd = request_fd;
	}
	return ioctl(fd, call, &b);
}

static long put(int fd, unsigned index, int request_fd)
{
	return give(fd, VIDIOC_QBUF, type, index, request_fd);
}

static long queue_directly(int fd, unsigned of, unsigned index)
{
	return give(fd, VIDIOC_QBUF, of, index, -2);
}

static long go(int request_fd)
{
	return ioctl(request_fd, MEDIA_REQUEST_IOC_QUEUE);
}

static long empty(int request_fd)
{
	return ioctl(request_fd, MEDIA_REQUEST_IOC_REINIT);
}

static long flags_of(int fd, unsigned index)
{
	struct v4l2_buffer b = a_buffer(type, index);
	unsigned mine = V4L2_BUF_FLAG_QUEUED | V4L2_BUF_FLAG_REQUEST_FD |
			V4L2_BUF_FLAG_IN_REQUEST | V4L2_BUF_FLAG_PREPARED | V4L2_BUF_FLAG_DONE;
	if (ioctl(fd, VIDIOC_QUERYBUF, &b) < 0)
		return -1;
	return b.flags & mine;
}

static long switch_on(int fd, unsigned of, int on)
{
	return ioctl(fd, on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &of);
}

static int ready(void)
{
	int fd = device();
	if (mmap_buffers(fd, BUFFERS) != BUFFERS)
		die("REQBUFS");
	return fd;
}

static void rows(void)
{
	int from = open_node(media, 0);
	int request = request_new(from), fd = ready();
	say("request.alloc", request < 0 ? -1 : 0);
	close(from);
	int other = ready();
	say("request.without", queue_directly(other, type, 0));
	say("qbuf.request-among-direct", put(other, 1, -1));
	close(other);
	say("qbuf.no-request", put(fd, 0, -1));
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	say("qbuf.request-of-a-file", put(fd, 0, null));
	say("prepare.request", give(fd, VIDIOC_PREPARE_BUF, type, 0, request));
	say("request.qbuf", put(fd, 0, request));
	say("request.qbuf-again", put(fd, 0, request));
	say("request.then-direct", queue_directly(fd, type, 1));
	say("request.prepare", give(fd, VIDIOC_PREPARE_BUF, type, 0, -2));
	say("request.remove", remove_of(fd, type, 0, 1));
	say("request.second-buffer", put(fd, 1, request));
	printf("request.flags flags=%lx\n", flags_of(fd, 0));
	say("request.queue", go(request));
	say("request.qbuf-when-queued", put(fd, 1, request));
	say("request.reinit-when-queued", empty(request));
	say("request.streamon", switch_on(fd, type, 1));
	int second = a_request();
	say("request.queue-empty", go(second));
	switch_on(fd, type, 0);
	say("request.direct-after-streamoff", queue_directly(fd, type, 0));
	say("request.after-direct", put(fd, 1, second));
	say("request.queue-complete", go(request));
	say("request.reinit", empty(request));
	say("request.capture", give(fd, VIDIOC_QBUF, capture_type, 0, second));
	say("request.read", read(request, &fd, 1));
	say("request.mmap", mmap(0, 1, PROT_READ, MAP_SHARED, request, 0) == MAP_FAILED ? -1 : 0);
	say("request.video-ioctl", ioctl(request, VIDIOC_STREAMON, &type));
	say("request.of-a-video-file", ioctl(fd, MEDIA_REQUEST_IOC_QUEUE));
	say("request.bad-pointer", ioctl(open_node(media, 0), MEDIA_IOC_REQUEST_ALLOC, 8));
}

static long control(int fd, unsigned long call, int request_fd, int *value)
{
	struct v4l2_ext_control c = { .id = V4L2_CID_HFLIP, .value = *value };
	struct v4l2_ext_controls cs = {
		.which = V4L2_CTRL_WHICH_REQUEST_VAL,
		.count = 1,
		.request_fd = request_fd,
		.controls = &c,
	};
	long done = ioctl(fd, call, &cs);
	*value = c.value;
	return done;
}

static unsigned char *memory_of(int fd, unsigned of, unsigned index, size_t *len)
{
	struct v4l2_buffer b = a_buffer(of, index);
	if (ioctl(fd, VIDIOC_QUERYBUF, &b) < 0)
		die("QUERYBUF");
	*len = mplane ? plane_array[0].length : b.length;
	size_t at = mplane ? plane_array[0].m.mem_offset : b.m.offset;
	void *mem = mmap(0, *len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
	if (mem == MAP_FAILED)
		die("mmap");
	return mem;
}

// Waits by another method for each request.
static int wait_for(int request, int way)
{
	if (way == 0) {
		struct pollfd p = { .fd = request, .events = POLLPRI };
		return poll(&p, 1, 5000) == 1 && p.revents == POLLPRI;
	}
	if (way == 1) {
		struct epoll_event e = { .events = EPOLLPRI };
		int set = epoll_create1(0);
		epoll_ctl(set, EPOLL_CTL_ADD, request, &e);
		int n = epoll_wait(set, &e, 1, 5000);
		close(set);
		return n == 1 && e.events == EPOLLPRI;
	}
	struct timeval t = { 5, 0 };
	fd_set set;
	FD_ZERO(&set);
	FD_SET(request, &set);
	return select(request + 1, 0, 0, &set, &t) == 1 && FD_ISSET(request, &set);
}

// Mirrors every other picture by a control in its request, while all are queued at once.
static void pictures(void)
{
	int fd = ready(), requests[BUFFERS], zero = 0, value;
	unsigned char *in[BUFFERS], *to[BUFFERS];
	size_t len;
	if (request(fd, capture_type, V4L2_MEMORY_MMAP, BUFFERS) != BUFFERS)
		die("REQBUFS");
	struct v4l2_format f = get_format(fd, type);
	unsigned width = mplane ? f.fmt.pix_mp.width : f.fmt.pix.width;
	for (unsigned i = 0; i < BUFFERS; i++) {
		in[i] = memory_of(fd, type, i, &len);
		memset(in[i], 128, len);
		for (unsigned x = 0; x < width; x++)
			in[i][x] = 16 + x + i;
		to[i] = memory_of(fd, capture_type, i, &len);
		requests[i] = a_request();
		value = i % 2;
		// The last but one sets no control, so the value stays.
		if (i != 2 && control(fd, VIDIOC_S_EXT_CTRLS, requests[i], &value))
			die("S_EXT_CTRLS");
		if (put(fd, i, requests[i]) || go(requests[i]))
			die("request");
	}
	say_poll("queued", requests[0], POLLPRI, 0);
	say("early", control(fd, VIDIOC_G_EXT_CTRLS, requests[0], &zero));
	if (switch_on(fd, type, 1) || switch_on(fd, capture_type, 1))
		die("STREAMON");
	for (unsigned i = 0; i < BUFFERS; i++)
		if (queue_directly(fd, capture_type, i))
			die("QBUF");
	for (unsigned i = 0; i < BUFFERS; i++) {
		int copy = dup(requests[i]);
		close(requests[i]);
		int waited = wait_for(copy, i % 3);
		value = -1;
		long got = control(fd, VIDIOC_G_EXT_CTRLS, copy, &value);
		struct v4l2_buffer b = a_buffer(capture_type, 0);
		struct pollfd p = { .fd = fd, .events = POLLIN };
		poll(&p, 1, 5000);
		if (ioctl(fd, VIDIOC_DQBUF, &b))
			die("DQBUF");
		unsigned char first = to[b.index][0], last = to[b.index][width - 1];
		int turned = first == 16 + width - 1 + i && last == 16 + i;
		int straight = first == 16 + i && last == 16 + width - 1 + i;
		printf("picture%u waited=%d get=%ld control=%d turned=%d straight=%d\n", i,
		       waited, got, value, turned, straight);
		close(copy);
	}
	struct v4l2_buffer b = a_buffer(type, 0);
	ioctl(fd, VIDIOC_DQBUF, &b);
	printf("dequeued request=%d shown=%lx\n", !!(b.flags & V4L2_BUF_FLAG_REQUEST_FD),
	       flags_of(fd, b.index));
	struct v4l2_control now = { .id = V4L2_CID_HFLIP };
	ioctl(fd, VIDIOC_G_CTRL, &now);
	printf("now %d\n", now.value);
}

// Checks the buffers of a request that ends before or after it was queued.
static void closing(void)
{
	int fd = ready(), idle = a_request(), queued = a_request();
	put(fd, 0, idle);
	put(fd, 1, queued);
	go(queued);
	close(idle);
	close(queued);
	printf("idle flags=%lx\n", flags_of(fd, 0));
	printf("queued flags=%lx\n", flags_of(fd, 1));
	say("again", put(fd, 0, a_request()));
	switch_on(fd, type, 0);
	printf("cancelled flags=%lx\n", flags_of(fd, 1));
	// A request outlives its buffer's file.
	int left = a_request();
	put(fd, 2, left);
	go(left);
	close(fd);
	say("orphan", wait_for(left, 0));
	say("empty", go(left));
	say("reinit", empty(left));
	say("nothing", go(left));
	say_poll("idle", left, POLLPRI, 0);
	say_poll("uninterested", left, POLLIN, 0);
}

static void killed(void)
{
	int fd = ready();
	for (unsigned i = 0; i < 100; i++) {
		int request = a_request(), value = 1;
		if (i < BUFFERS)
			put(fd, i, request);
		if (i < 3)
			control(fd, VIDIOC_S_EXT_CTRLS, request, &value);
		if (i < 2)
			go(request);
	}
	switch_on(fd, type, 1);
	puts("alive");
	fflush(stdout);
	raise(SIGKILL);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	node = argv[1];
	media = argv[2];
	struct v4l2_capability cap;
	int fd = device();
	if (ioctl(fd, VIDIOC_QUERYCAP, &cap))
		die("QUERYCAP");
	close(fd);
	out = 1;
	mplane = !!(cap.device_caps & V4L2_CAP_VIDEO_M2M_MPLANE);
	type = mplane ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	capture_type = other_type();
	if (argc > 3 && !strcmp(argv[3], "none")) {
		fd = ready();
		say("alloc", request_new(open_node(media, 0)));
		say("qbuf.request-unsupported", put(fd, 0, 0));
		int value = 0;
		say("control", control(fd, VIDIOC_G_EXT_CTRLS, 0, &value));
		return 0;
	}
	if (argc > 3)
		killed();
	rows();
	pictures();
	closing();
	return 0;
}
