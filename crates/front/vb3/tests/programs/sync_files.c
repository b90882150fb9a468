// Tests fences of a camera's buffers as sync files, one line per call. Arguments: the camera, which
// takes a second per frame, and a display.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/sync_file.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFERS 3

struct create { __u32 value; char name[32]; __s32 fence; };
#define CREATE_FENCE _IOWR('W', 0, struct create)
#define INCREMENT _IOW('W', 1, __u32)

static int camera, display, timeline, bufs[BUFFERS];

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

static void expect(const char *what, long result, long wanted)
{
	if (result == wanted)
		printf("%s: as it should\n", what);
	else
		printf("%s: %ld, not %ld (%s)\n", what, result, wanted, strerrorname_np(errno));
	fflush(stdout);
}

static int export_fences(int buf, unsigned flags)
{
	struct dma_buf_export_sync_file data = { .flags = flags, .fd = -1 };
	return ioctl(buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &data) ? -1 : data.fd;
}

static int import_fences(int buf, unsigned flags, int fd)
{
	struct dma_buf_import_sync_file data = { .flags = flags, .fd = fd };
	return ioctl(buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &data);
}

static int merge(int a, int b, unsigned flags, const char *name)
{
	struct sync_merge_data data = { .fd2 = b, .flags = flags };
	strcpy(data.name, name);
	return ioctl(a, SYNC_IOC_MERGE, &data) ? -1 : data.fence;
}

static struct sync_file_info info;
static struct sync_fence_info fences[8];

static int look(int fd, unsigned room)
{
	memset(&info, 0, sizeof(info));
	info.num_fences = room;
	info.sync_fence_info = (unsigned long)fences;
	return ioctl(fd, SYNC_IOC_FILE_INFO, &info);
}

static int status(int fd)
{
	return look(fd, 8) ? -1000 : info.status;
}

static int ready(int fd, int events, int timeout)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	int count = poll(&poll_fd, 1, timeout);
	return count < 0 ? -1 : poll_fd.revents;
}

static int fence(unsigned value)
{
	struct create data = { .value = value, .name = "test" };
	return ioctl(timeline, CREATE_FENCE, &data) ? -1 : data.fence;
}

static int increment(__u32 by)
{
	return ioctl(timeline, INCREMENT, &by);
}

static int queue(int fd, int index, int buf)
{
	int is_output = fd == display;
	struct v4l2_buffer buffer = {
		.index = index,
		.type = is_output ? V4L2_BUF_TYPE_VIDEO_OUTPUT : V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = is_output ? V4L2_MEMORY_DMABUF : V4L2_MEMORY_MMAP,
	};
	if (is_output)
		buffer.m.fd = buf;
	return ioctl(fd, VIDIOC_QBUF, &buffer);
}

static int dequeue(int fd)
{
	int is_output = fd == display;
	struct v4l2_buffer buffer = {
		.type = is_output ? V4L2_BUF_TYPE_VIDEO_OUTPUT : V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = is_output ? V4L2_MEMORY_DMABUF : V4L2_MEMORY_MMAP,
	};
	return ioctl(fd, VIDIOC_DQBUF, &buffer) ? -1 : (int)buffer.index;
}

static int stream(int fd, int on)
{
	int type = fd == display ? V4L2_BUF_TYPE_VIDEO_OUTPUT : V4L2_BUF_TYPE_VIDEO_CAPTURE;
	return ioctl(fd, on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &type);
}

static void make_buffers(void)
{
	struct v4l2_requestbuffers own = { .count = BUFFERS, .memory = V4L2_MEMORY_MMAP,
					   .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	struct v4l2_requestbuffers shown = { .count = BUFFERS, .memory = V4L2_MEMORY_DMABUF,
					     .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
	if (ioctl(camera, VIDIOC_REQBUFS, &own) || ioctl(display, VIDIOC_REQBUFS, &shown)) {
		perror("REQBUFS");
		exit(2);
	}
	for (int i = 0; i < BUFFERS; i++) {
		struct v4l2_exportbuffer export = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .index = i,
						    .flags = O_RDWR | O_CLOEXEC };
		if (ioctl(camera, VIDIOC_EXPBUF, &export)) {
			perror("EXPBUF");
			exit(2);
		}
		bufs[i] = export.fd;
	}
}

static void open_devices(char **argv)
{
	camera = open(argv[1], O_RDWR);
	display = open(argv[2], O_RDWR);
	make_buffers();
}

static void send_fd(int socket, int fd)
{
	char byte = 'f', control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	*head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(socket, &message, 0) != 1)
		perror("sendmsg");
}

static int receive_fd(int socket)
{
	int fd = -1;
	char byte, control[CMSG_SPACE(sizeof(fd))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };
	if (recvmsg(socket, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

// Another program streams, sends a fence of its camera, and is killed.
static void of_a_dead_program(char **argv)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		perror("socketpair");
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		open_devices(argv);
		for (int i = 0; i < BUFFERS; i++)
			queue(camera, i, -1);
		stream(camera, 1);
		send_fd(pair[1], export_fences(bufs[BUFFERS - 1], DMA_BUF_SYNC_READ));
		pause();
	}
	int passed = receive_fd(pair[0]);
	expect("passed on", status(passed), 0);
	int set = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = passed };
	say("epoll_ctl", epoll_ctl(set, EPOLL_CTL_ADD, passed, &event));
	expect("epoll_wait", epoll_wait(set, &event, 1, 0), 0);
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
	expect("after a kill", epoll_wait(set, &event, 1, 10000), 1);
	expect("  status", status(passed), -ECANCELED);
	close(set);
	close(passed);
	close(pair[0]);
	close(pair[1]);
}

static void wrong_calls(void)
{
	char byte;
	int idle = export_fences(bufs[0], DMA_BUF_SYNC_RW);
	say("export of what nobody has", idle);
	expect("  it has ended", ready(idle, POLLIN, 0), POLLIN);
	expect("  one fence", look(idle, 0) ? -1 : (int)info.num_fences, 1);
	expect("  of status", status(idle), 1);
	printf("  %s %s\n", fences[0].driver_name, fences[0].obj_name);
	say("export without flags", export_fences(bufs[0], 0));
	say("export with other flags", export_fences(bufs[0], 4));
	say("export to nowhere", ioctl(bufs[0], DMA_BUF_IOCTL_EXPORT_SYNC_FILE, 8L));
	say("import of no descriptor", import_fences(bufs[0], DMA_BUF_SYNC_READ, 999));
	say("import of a dma-buf", import_fences(bufs[0], DMA_BUF_SYNC_READ, bufs[0]));
	say("import without flags", import_fences(bufs[0], 0, idle));
	say("import of what has ended", import_fences(bufs[0], DMA_BUF_SYNC_WRITE, idle));
	say("merge with no descriptor", merge(idle, 999, 0, "m"));
	say("merge with a dma-buf", merge(idle, bufs[0], 0, "m"));
	// Closed sync file numbers, and files of other kinds.
	int stale = dup(idle), other = open("/dev/null", O_RDWR), event = eventfd(1, 0);
	close(stale);
	say("import of a closed one", import_fences(bufs[0], DMA_BUF_SYNC_READ, stale));
	say("import of another file", import_fences(bufs[0], DMA_BUF_SYNC_READ, other));
	say("import of an event", import_fences(bufs[0], DMA_BUF_SYNC_READ, event));
	say("import of a camera", import_fences(bufs[0], DMA_BUF_SYNC_READ, camera));
	say("merge with a closed one", merge(idle, stale, 0, "m"));
	say("merge with another file", merge(idle, other, 0, "m"));
	say("merge with an event", merge(idle, event, 0, "m"));
	say("merge with a camera", merge(idle, camera, 0, "m"));
	say("info of an event", look(event, 0));
	close(other);
	close(event);
	say("merge with flags", merge(idle, idle, 1, "m"));
	say("merge of nowhere", ioctl(idle, SYNC_IOC_MERGE, 8L));
	info.flags = 1;
	say("info with flags", ioctl(idle, SYNC_IOC_FILE_INFO, &info));
	say("info of nowhere", ioctl(idle, SYNC_IOC_FILE_INFO, 8L));
	say("other call", ioctl(idle, _IO('>', 9)));
	say("read", read(idle, &byte, 1));
	say("mmap", mmap(0, 4096, PROT_READ, MAP_SHARED, idle, 0) == MAP_FAILED ? -1 : 0);
	close(idle);
}

static void of_a_device(void)
{
	for (int i = 0; i < BUFFERS; i++)
		queue(camera, i, -1);
	expect("queued, not streaming", ready(bufs[2], POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
	say("STREAMON", stream(camera, 1));
	int reader = export_fences(bufs[2], DMA_BUF_SYNC_READ);
	expect("captured: dma-buf", ready(bufs[2], POLLIN | POLLOUT, 0), 0);
	expect("captured: sync file", ready(reader, POLLIN, 0), 0);
	expect("captured: status", status(reader), 0);
	printf("  %s %s\n", fences[0].driver_name, fences[0].obj_name);
	int copy = dup(reader);
	close(reader);
	fd_set set;
	FD_ZERO(&set);
	FD_SET(copy, &set);
	expect("select on the copy", select(copy + 1, &set, 0, 0, 0), 1);
	expect("  status", status(copy), 1);
	expect("the dma-buf then", ready(bufs[2], POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
	close(copy);
	queue(camera, dequeue(camera), -1);
	int canceled = export_fences(bufs[0], DMA_BUF_SYNC_READ);
	say("STREAMOFF", stream(camera, 0));
	expect("  status", status(canceled), -ECANCELED);
	expect("  it has ended", ready(canceled, POLLIN, 0), POLLIN);
	close(canceled);
}

static void of_a_program(void)
{
	int first = fence(1), second = fence(2);
	int both = merge(first, second, 0, "both");
	expect("merge keeps the last", look(both, 0) ? -1 : (int)info.num_fences, 1);
	printf("  %s\n", info.name);
	look(both, 8);
	close(second);
	say("increment", increment(1));
	expect("  first", status(first), 1);
	expect("  both", status(both), 0);
	// A child waits on a copy that the parent has closed.
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		perror("socketpair");
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		char word = 'r';
		if (write(pair[1], &word, 1) != 1)
			_exit(2);
		_exit(ready(both, POLLIN, 20000) == POLLIN && status(both) == 1 ? 0 : 1);
	}
	close(both);
	char word;
	if (read(pair[0], &word, 1) != 1)
		perror("read");
	say("increment", increment(1));
	int result;
	waitpid(child, &result, 0);
	expect("  the child's wait", result, 0);
	int lost = fence(9);
	close(timeline);
	expect("a timeline that is closed", status(lost), -ENOENT);
	close(lost);
	close(first);
	timeline = open("/sys/kernel/debug/sync/sw_sync", O_RDWR);
}

// Waits until a process sleeps in a call.
static void until_asleep(pid_t pid)
{
	char path[64], state = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	while (state != 'S') {
		FILE *stat = fopen(path, "r");
		if (!stat || fscanf(stat, "%*d %*s %c", &state) != 1)
			_exit(1);
		fclose(stat);
		sched_yield();
	}
}

// A buffer with imported fences waits in the display's queue, and blocks later ones.
static void held_back(void)
{
	int held = fence(1);
	say("import", import_fences(bufs[0], DMA_BUF_SYNC_WRITE, held));
	close(held);
	say("QBUF of the first", queue(display, 0, bufs[0]));
	say("QBUF of the second", queue(display, 1, bufs[1]));
	say("STREAMON", stream(display, 1));
	struct v4l2_buffer buffer = { .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_DMABUF };
	ioctl(display, VIDIOC_QUERYBUF, &buffer);
	expect("  is queued", buffer.flags & V4L2_BUF_FLAG_QUEUED, V4L2_BUF_FLAG_QUEUED);
	expect("  nothing is shown", ready(display, POLLOUT, 300), 0);
	say("increment", increment(1));
	expect("  comes back", dequeue(display), 0);
	held = fence(2);
	say("import", import_fences(bufs[2], DMA_BUF_SYNC_WRITE, held));
	say("QBUF of the third", queue(display, 2, bufs[2]));
	say("STREAMOFF", stream(display, 0));
	ioctl(display, VIDIOC_QUERYBUF, &buffer);
	expect("  is the program's", buffer.flags & V4L2_BUF_FLAG_QUEUED, 0);
	// A CPU access announced by the sync ioctl waits, too.
	fflush(stdout);
	int go[2];
	char byte = 0;
	if (pipe(go))
		exit(1);
	pid_t child = fork();
	if (!child) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		until_asleep(getppid());
		_exit(increment(1) ? 1 : 0);
	}
	struct dma_buf_sync sync = { DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
	expect("before SYNC", status(held), 0);
	if (write(go[1], &byte, 1) != 1)
		exit(1);
	say("SYNC", ioctl(bufs[2], DMA_BUF_IOCTL_SYNC, &sync));
	expect("  status", status(held), 1);
	waitpid(child, 0, 0);
	close(held);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	of_a_dead_program(argv);
	open_devices(argv);
	timeline = open("/sys/kernel/debug/sync/sw_sync", O_RDWR);
	say("sw_sync", timeline);
	wrong_calls();
	of_a_device();
	of_a_program();
	held_back();
	return 0;
}
