// Performs the rows of the errno table that a client can provoke on a single-planar device, and
// prints `NAME value` lines: rows cap|out NODE EXPORTER [userptr].
#include "rows.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void allocation(void)
{
	int fd = device();
	say("reqbufs.other-type", request(fd, other_type(), V4L2_MEMORY_MMAP, 2));
	say("reqbufs.memory-0", request(fd, type, 0, 2));
	say("reqbufs.memory-99", request(fd, type, 99, 2));
	say("reqbufs.none", mmap_buffers(fd, 0));
	long userptr = request(fd, type, V4L2_MEMORY_USERPTR, 2);
	say("reqbufs.userptr", userptr);
	say("reqbufs.one", mmap_buffers(fd, 1));
	say("reqbufs.many", mmap_buffers(fd, 100000));
	mmap_buffers(fd, 0);
	struct v4l2_requestbuffers r;
	memset(&r, 0, sizeof(r));
	r.count = 2;
	r.type = type;
	r.memory = V4L2_MEMORY_MMAP;
	((unsigned char *)&r)[16] = 1; // V4L2_MEMORY_FLAG_NON_COHERENT, "reserved" in older headers
	int result = ioctl(fd, VIDIOC_REQBUFS, &r);
	printf("reqbufs.non-coherent %d caps=%x flags=%x\n", result, r.capabilities, ((unsigned char *)&r)[16]);
	close(fd);
}

static void second_handle(void)
{
	int fd = device(), second = device();
	if (mmap_buffers(fd, 3) < 0)
		die("REQBUFS");
	say("second.reqbufs-0", mmap_buffers(second, 0));
	say("second.querybuf", call(second, VIDIOC_QUERYBUF, buffer(0)));
	say("second.qbuf", qbuf(second, 0));
	say("second.dqbuf", call(second, VIDIOC_DQBUF, buffer(0)));
	say("second.streamon", stream(second, 1));
	say("second.expbuf", export_buffer(second, 0, 0, O_RDWR));
	say("second.prepare", call(second, VIDIOC_PREPARE_BUF, buffer(0)));
	say("second.create", create_count(second, 1));
	say("second.create-0", create_count(second, 0));
	say("second.remove", remove_range(second, 0, 1));
	say("second.mmap", try_map(second, size, PROT_READ | PROT_WRITE, MAP_SHARED, cookie(fd, 0)));
	say("second.s-fmt", set_same_format(second));
	say_poll("second.poll", second, POLLIN | POLLOUT, 0);
	say("second.querybuf.bad-index", call(second, VIDIOC_QUERYBUF, buffer(3)));
	say("second.querybuf.index-max", call(second, VIDIOC_QUERYBUF, buffer(0xffffffff)));
	struct v4l2_buffer b = buffer(0);
	b.memory = V4L2_MEMORY_DMABUF;
	say("second.querybuf.other-memory", call(second, VIDIOC_QUERYBUF, b));
	close(second);
	close(fd);
}

static void queueing(void)
{
	int fd = device();
	mmap_buffers(fd, 3);
	struct v4l2_buffer b = buffer(0);
	b.type = other_type();
	say("qbuf.other-type", call(fd, VIDIOC_QBUF, b));
	b = buffer(0);
	b.memory = V4L2_MEMORY_DMABUF;
	say("qbuf.other-memory", call(fd, VIDIOC_QBUF, b));
	say("qbuf.bad-index", qbuf(fd, 3));
	say("qbuf", qbuf(fd, 0));
	say("qbuf.again", qbuf(fd, 0));
	say("remove.queued", remove_range(fd, 0, 1));
	say("remove.one-of-them-queued", remove_range(fd, 0, 3));
	say("dqbuf.not-streaming", call(fd, VIDIOC_DQBUF, buffer(0)));
	b = buffer(0);
	b.type = other_type();
	say("dqbuf.other-type", call(fd, VIDIOC_DQBUF, b));
	b = buffer(1);
	b.flags = V4L2_BUF_FLAG_REQUEST_FD;
	say("prepare.request", call(fd, VIDIOC_PREPARE_BUF, b));
	say("prepare.bad-index", call(fd, VIDIOC_PREPARE_BUF, buffer(3)));
	say("prepare", call(fd, VIDIOC_PREPARE_BUF, buffer(1)));
	say("prepare.again", call(fd, VIDIOC_PREPARE_BUF, buffer(1)));
	say("remove.prepared", remove_range(fd, 1, 1));
	say("querybuf.removed", call(fd, VIDIOC_QUERYBUF, buffer(1)));
	say("create.fills-a-hole", create_count(fd, 1));
	b = buffer(2);
	b.flags = V4L2_BUF_FLAG_REQUEST_FD;
	b.request_fd = -1;
	say("qbuf.request-unsupported", call(fd, VIDIOC_QBUF, b));
	close(fd);
}

static void table_full(int fd)
{
	struct rlimit before, low;
	getrlimit(RLIMIT_NOFILE, &before);
	low = before;
	low.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &low);
	int fds[64], n = 0;
	while (n < 64 && (fds[n] = dup(0)) >= 0)
		n++;
	say("expbuf.table-full", export_buffer(fd, 0, 0, O_RDWR));
	while (n > 0)
		close(fds[--n]);
	setrlimit(RLIMIT_NOFILE, &before);
}

static void exporting_and_mapping(void)
{
	int fd = device();
	mmap_buffers(fd, 2);
	say("expbuf.bad-index", export_buffer(fd, 2, 0, O_RDWR));
	say("expbuf.bad-plane", export_buffer(fd, 0, 1, O_RDWR));
	say("expbuf.nonblock", export_buffer(fd, 0, 0, O_RDWR | O_NONBLOCK));
	say("expbuf.access-3", export_buffer(fd, 0, 0, 3));
	table_full(fd);

	int rw = PROT_READ | PROT_WRITE;
	long at = cookie(fd, 0);
	size_t pages = (size + 4095) & ~4095ul;
	say("mmap.private", try_map(fd, size, rw, MAP_PRIVATE, at));
	say("mmap.read", try_map(fd, size, PROT_READ, MAP_SHARED, at));
	say("mmap.unknown-offset", try_map(fd, size, rw, MAP_SHARED, 1l << 40));
	say("mmap.second-plane", try_map(fd, 4096, rw, MAP_SHARED, at + 4096));
	say("mmap.longer", try_map(fd, pages + 4096, rw, MAP_SHARED, at));
	say("mmap.shorter", try_map(fd, 4096, rw, MAP_SHARED, at));
	say("mmap.none", try_map(fd, size, PROT_NONE, MAP_SHARED, at));

	unsigned char *mapped = map(fd, size, rw, MAP_SHARED, at);
	int dmabuf = (int)export_of(fd, type, 0, 0, O_RDWR | O_CLOEXEC);
	if (mapped == MAP_FAILED || dmabuf < 0)
		die("mmap or EXPBUF");
	for (unsigned i = 0; i < size; i += 4096)
		memset(mapped + i, (int)(i / 4096 + 1), size - i < 4096 ? size - i : 4096);
	say("orphan.reqbufs-0", mmap_buffers(fd, 0));
	say("orphan.still-there", mapped[0] == 1 && mapped[4096] == 2);
	say("orphan.old-offset", try_map(fd, size, rw, MAP_SHARED, at));
	unsigned char *shared = map(dmabuf, size, rw, MAP_SHARED, 0);
	say("orphan.buf.mmap", shared == MAP_FAILED ? -1 : 0);
	say("orphan.buf.same-bytes", shared != MAP_FAILED && !memcmp(shared, mapped, size));
	unsigned char *second_page = map(dmabuf, 4096, rw, MAP_SHARED, 4096);
	say("buf.second-page", second_page != MAP_FAILED && second_page[0] == 2);
	say("buf.mmap.private", try_map(dmabuf, size, rw, MAP_PRIVATE, 0));
	struct dma_buf_sync sync = { 0 };
	say("sync.none", ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	say("sync.end-without-start", ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	sync.flags = DMA_BUF_SYNC_RW | 1u << 10;
	say("sync.unknown-bit", ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	say("buf.seek-cur", lseek(dmabuf, 0, SEEK_CUR));
	say("buf.unknown-ioctl", ioctl(dmabuf, _IO('b', 99), 0));
	mmap_buffers(fd, 1);
	unsigned char *fresh = map(fd, size, rw, MAP_SHARED, cookie(fd, 0));
	say("orphan.new-memory-is-another", fresh != MAP_FAILED && fresh[0] == 0 && mapped[0] == 1);
	mmap_buffers(fd, 0);
	say("mmap.no-buffers", try_map(fd, size, rw, MAP_SHARED, at));
	say("expbuf.no-buffers", export_buffer(fd, 0, 0, O_RDWR));
	say("querybuf.no-buffers", call(fd, VIDIOC_QUERYBUF, buffer(0)));
	say("streamoff.no-buffers", stream(fd, 0));
	say("dqbuf.no-buffers", call(fd, VIDIOC_DQBUF, buffer(0)));
	munmap(mapped, size);
	munmap(shared, size);
	munmap(second_page, 4096);
	munmap(fresh, size);
	close(dmabuf);
	close(fd);
}

static void creating_and_removing(void)
{
	int fd = device();
	say("create.count-0", create_count(fd, 0));
	say("create.memory-99", create(fd, creation(fd, 0, 99)));
	static const struct {
		const char *id;
		unsigned bytes;
	} SIZES[] = { { "create.size-0", 0 }, { "create.size-huge", 0xfffff000 }, { "create.size-max", 0xffffffff } };
	for (unsigned i = 0; i < 3; i++) {
		struct v4l2_create_buffers c = creation(fd, 1, V4L2_MEMORY_MMAP);
		c.format.fmt.pix.sizeimage = SIZES[i].bytes;
		say(SIZES[i].id, create(fd, c));
	}
	struct v4l2_create_buffers c = creation(fd, 1, V4L2_MEMORY_MMAP);
	c.format.type = other_type();
	say("create.other-type", create(fd, c));
	c = creation(fd, 0, V4L2_MEMORY_MMAP);
	if (ioctl(fd, VIDIOC_CREATE_BUFS, &c) < 0)
		die("CREATE_BUFS count 0");
	unsigned max;
	memcpy(&max, (char *)&c + offsetof(struct v4l2_create_buffers, capabilities) + 8, 4);
	printf("create.reports index=%u caps=%x max=%u\n", c.index, c.capabilities, max);
	say("create.two", create_count(fd, 2));
	unsigned total = 2;
	while (total < 100000 && create_count(fd, 1) == 1)
		total++;
	printf("create.until-full %s at total %u\n", strerrorname_np(errno), total);
	mmap_buffers(fd, 0);

	mmap_buffers(fd, 4);
	say("remove.other-type", remove_of(fd, other_type(), 0, 1));
	say("remove.count-0", remove_range(fd, 0xdeadbeef, 0));
	say("remove.count-0.other-type", remove_of(fd, other_type(), 0, 0));
	say("remove.too-many", remove_range(fd, 0, 5));
	say("remove.middle", remove_range(fd, 1, 1));
	say("remove.over-a-hole", remove_range(fd, 0, 3));
	say("remove.hole", remove_range(fd, 1, 1));
	say("qbuf.removed", qbuf(fd, 1));
	say("remove.all", remove_range(fd, 0, 1) | remove_range(fd, 2, 2));
	say("s-fmt.all-removed", set_same_format(fd));
	int second = device();
	say("second.reqbufs.all-removed", mmap_buffers(second, 2));
	close(second);
	close(fd);
}

static void user_pointers(void)
{
	int fd = device();
	size_t pages = (size + 4095) & ~4095ul;
	int rw = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	if (request(fd, type, V4L2_MEMORY_USERPTR, 4) < 0)
		die("REQBUFS for USERPTR");
	unsigned char *good = map(-1, pages + 4096, rw, anonymous, 0);
	unsigned char *gone = map(-1, pages, rw, anonymous, 0);
	unsigned char *fixed = map(-1, pages, PROT_READ, anonymous, 0);
	unsigned char *torn = map(-1, pages, rw, anonymous, 0);
	munmap(gone, pages);
	munmap(torn + pages - 4096, 4096);
	say("userptr.qbuf.too-short", queue_user(fd, 0, good, size - 1));
	say("userptr.qbuf.null", queue_user(fd, 0, NULL, size));
	say("userptr.qbuf.unmapped", queue_user(fd, 0, gone, size));
	say("userptr.qbuf.read-only", queue_user(fd, 1, fixed, size));
	say("userptr.qbuf.ends-unmapped", queue_user(fd, 0, torn, size));
	say("userptr.qbuf.odd-address", queue_user(fd, 2, good + 1, size));
	struct v4l2_exportbuffer e = { .type = type };
	say("userptr.expbuf", ioctl(fd, VIDIOC_EXPBUF, &e));
	say("userptr.mmap", try_map(fd, 4096, rw, MAP_SHARED, 0));
	say("userptr.qbuf.enormous", queue_user(fd, 0, good, 0xfffff000));
	stream(fd, 0);

	// The same address with other memory: the frame must be in the memory at that address when it is dequeued.
	if (!out) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		long result = queue_user(fd, 3, good, size) | stream(fd, 1);
		for (int i = 0; i < 2 && result == 0; i++) {
			struct v4l2_buffer b = buffer(0);
			b.memory = V4L2_MEMORY_USERPTR;
			poll(&p, 1, 2000);
			result = ioctl(fd, VIDIOC_DQBUF, &b);
			munmap(good, pages + 4096);
			if (mmap(good, pages + 4096, rw, anonymous | MAP_FIXED, -1, 0) != good)
				die("mmap");
			result |= queue_user(fd, 3, good, size);
		}
		poll(&p, 1, 2000);
		struct v4l2_buffer b = buffer(0);
		b.memory = V4L2_MEMORY_USERPTR;
		if (result == 0)
			result = ioctl(fd, VIDIOC_DQBUF, &b);
		unsigned filled = 0;
		for (unsigned i = 0; i < size; i++)
			filled += good[i] != 0;
		say("userptr.other-memory-at-the-address", result < 0 ? result : filled > size / 2);
	}
	close(fd);
	munmap(good, pages + 4096);
	munmap(fixed, pages);
	munmap(torn, pages - 4096);
}

static void imports(void)
{
	int tiny = foreign_dmabuf(4096);
	int fd = device();
	if (request(fd, type, V4L2_MEMORY_DMABUF, 4) < 0)
		die("REQBUFS for DMABUF");
	int none = open("/dev/null", O_RDWR);
	say("import.no-fd", queue_dmabuf(fd, 0, -1, 0, 0));
	say("import.no-dmabuf", queue_dmabuf(fd, 0, none, 0, 0));
	say("import.small", queue_dmabuf(fd, 0, tiny, 0, 0));
	say("import.small-and-long", queue_dmabuf(fd, 0, tiny, size, 0));
	// Ten times, since a failed attempt must leave nothing behind.
	for (int i = 0; i < 10; i++)
		queue_dmabuf(fd, (unsigned)i % 4, tiny, size, 0);
	struct v4l2_exportbuffer e = { .type = type };
	say("import.expbuf", ioctl(fd, VIDIOC_EXPBUF, &e));
	say("import.mmap", try_map(fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	close(tiny);
	close(none);
	close(fd);
}

static void imports_of_size(void)
{
	int good = foreign_dmabuf(size), fd = device();
	request(fd, type, V4L2_MEMORY_DMABUF, 4);
	say("import.too-short", queue_dmabuf(fd, 0, good, size - 1, 0));
	say("import.longer-than-it-is", queue_dmabuf(fd, 0, good, size * 16, 0));
	if (queue_dmabuf(fd, 0, good, 0, 0) < 0)
		die("QBUF of a good dma-buf");
	say("import.remove-queued", remove_range(fd, 0, 1));
	struct v4l2_buffer b = buffer(0);
	if (ioctl(fd, VIDIOC_QUERYBUF, &b) < 0)
		die("QUERYBUF");
	if (out)
		say("import.means-all", b.bytesused == b.length && b.length >= size);
	close(good);
	close(fd);
}

// OUTPUT only: bytesused is compared with its own call's dma-buf, not an earlier one.
static void import_payloads(void)
{
	int good = foreign_dmabuf(size), large = foreign_dmabuf(size * 4), fd = device();
	request(fd, type, V4L2_MEMORY_DMABUF, 2);
	say("payload.good", queue_dmabuf(fd, 0, good, 0, size));
	stream(fd, 0);
	say("payload.then-no-fd", queue_dmabuf(fd, 0, -1, 0, size));
	say("payload.good-after-bad", queue_dmabuf(fd, 0, good, 0, size));
	stream(fd, 0);
	queue_dmabuf(fd, 0, -1, 0, size);
	say("payload.good-with-length", queue_dmabuf(fd, 0, good, size, size));
	stream(fd, 0);
	say("payload.none-with-length", queue_dmabuf(fd, 0, good, size, 0));
	stream(fd, 0);
	say("payload.large", queue_dmabuf(fd, 1, large, 0, size * 4));
	stream(fd, 0);
	say("payload.beyond-a-smaller-one", queue_dmabuf(fd, 1, good, 0, size * 4));
	stream(fd, 0);
	if (queue_dmabuf(fd, 1, good, 0, size) < 0)
		die("QBUF of the small dma-buf");
	stream(fd, 0);
	say("payload.large-after-small", queue_dmabuf(fd, 1, large, 0, size * 4));
	close(good);
	close(large);
	close(fd);
}

static void streaming(void)
{
	int fd = device();
	short relevant = out ? POLLOUT : POLLIN, irrelevant = out ? POLLIN : POLLOUT;
	mmap_buffers(fd, 4);
	say_poll("poll.before-the-stream", fd, POLLIN | POLLOUT, 0);
	void *byte = malloc(size);
	say("transfer.buffers-exist", transfer(fd, byte, size));
	free(byte);
	say("streamon.none-queued", stream(fd, 1));
	say("streamon.again", stream(fd, 1));
	say("dqbuf.none-queued", call(fd, VIDIOC_DQBUF, buffer(0)));
	say("reqbufs.streaming", mmap_buffers(fd, 2));
	say("reqbufs-0.streaming", mmap_buffers(fd, 0));
	say("remove.streaming", remove_range(fd, 3, 1));
	say_poll("poll.none-queued", fd, relevant, 0);
	say_poll("poll.other-events", fd, irrelevant, 0);
	say("streamoff.other-type", stream_of(fd, 0, other_type()));
	if (qbuf(fd, 0) < 0)
		die("QBUF");
	struct pollfd p = { .fd = fd, .events = relevant };
	say("poll.done", poll(&p, 1, 2000) == 1 && (p.revents & relevant) ? p.revents & ~(POLLRDNORM | POLLWRNORM) : 0);
	struct v4l2_buffer b = buffer(0);
	b.memory = V4L2_MEMORY_USERPTR;
	say("dqbuf.other-memory", call(fd, VIDIOC_DQBUF, b));
	stream(fd, 0);
	if (out) {
		b = buffer(0);
		b.bytesused = ((size + 4095) & ~4095u) + 1;
		say("qbuf.too-much", call(fd, VIDIOC_QBUF, b));
		b.bytesused = 0;
		if (ioctl(fd, VIDIOC_QBUF, &b) < 0)
			die("QBUF with bytesused 0");
		say("qbuf.means-all", b.bytesused == b.length);
	}
	close(fd);
}

// A stream without buffers keeps its memory model.
static void model(void)
{
	int fd = device();
	mmap_buffers(fd, 2);
	if (stream(fd, 1) < 0 || remove_range(fd, 0, 2) < 0)
		die("STREAMON or REMOVE_BUFS");
	say("create.another-memory-streaming", create(fd, creation(fd, 1, V4L2_MEMORY_DMABUF)));
	close(fd);
}

// A thread that sleeps in DQBUF, and its result.
static int sleeper_fd;
static pid_t sleeper_tid;
static long sleeper_result;
static int sleeper_errno;

static void *sleeper(void *unused)
{
	(void)unused;
	__atomic_store_n(&sleeper_tid, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	struct v4l2_buffer b = buffer(0);
	sleeper_result = ioctl(sleeper_fd, VIDIOC_DQBUF, &b);
	sleeper_errno = errno;
	return NULL;
}

// Waits until the thread is inside its ioctl.
static void until_asleep(void)
{
	char path[64], text[64];
	long number;
	pid_t tid;
	while (!(tid = __atomic_load_n(&sleeper_tid, __ATOMIC_SEQ_CST)))
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	for (;;) {
		FILE *file = fopen(path, "r");
		int in_ioctl = file && fgets(text, sizeof(text), file)
			&& sscanf(text, "%ld ", &number) == 1 && number == SYS_ioctl;
		if (file)
			fclose(file);
		if (in_ioctl)
			break;
		sched_yield();
	}
	// Calls are served in order: when this one has its answer, the sleeper's was checked.
	struct v4l2_capability c;
	ioctl(sleeper_fd, VIDIOC_QUERYCAP, &c);
}

static pthread_t fall_asleep(void)
{
	pthread_t thread;
	sleeper_tid = 0;
	if (pthread_create(&thread, NULL, sleeper, NULL))
		die("pthread_create");
	until_asleep();
	return thread;
}

static void say_sleeper(const char *id, pthread_t thread)
{
	pthread_join(thread, NULL);
	errno = sleeper_errno;
	say(id, sleeper_result);
}

static void wake(int number)
{
	(void)number;
}

static void sleeping(void)
{
	int fd = sleeper_fd = open_node(node, 0);
	mmap_buffers(fd, 2);
	stream(fd, 1);
	struct sigaction action = { .sa_handler = wake };
	sigaction(SIGUSR1, &action, NULL);
	pthread_t thread = fall_asleep();
	say("sleeper.dqbuf", call(fd, VIDIOC_DQBUF, buffer(0)));
	say("sleeper.reqbufs", mmap_buffers(fd, 2));
	unsigned char *bytes = malloc(size);
	say("sleeper.transfer", transfer(fd, bytes, size));
	free(bytes);
	pthread_kill(thread, SIGUSR1);
	say_sleeper("signal.dqbuf", thread);
	thread = fall_asleep();
	say("sleeper.streamoff", stream(fd, 0));
	say_sleeper("streamoff.ends.dqbuf", thread);
	close(fd);
}

static void last_flag(void)
{
	int fd = device();
	short relevant = out ? POLLOUT : POLLIN;
	struct pollfd p = { .fd = fd, .events = relevant };
	mmap_buffers(fd, 2);
	struct v4l2_buffer b = buffer(0);
	b.flags = V4L2_BUF_FLAG_DONE | V4L2_BUF_FLAG_LAST;
	say("flags.dqbuf.not-streaming", call(fd, VIDIOC_DQBUF, b));
	if (qbuf(fd, 0) < 0 || stream(fd, 1) < 0)
		die("QBUF or STREAMON");
	poll(&p, 1, 2000);
	say("flags.dqbuf.after", call(fd, VIDIOC_DQBUF, buffer(0)));
	b = buffer(0);
	b.flags = V4L2_BUF_FLAG_DONE | V4L2_BUF_FLAG_LAST;
	call(fd, VIDIOC_DQBUF, b);
	close(fd);
	p.fd = fd = device();
	mmap_buffers(fd, 2);
	if (qbuf(fd, 0) < 0 || stream(fd, 1) < 0)
		die("QBUF or STREAMON");
	poll(&p, 1, 2000);
	say("flags.dqbuf.reopened", call(fd, VIDIOC_DQBUF, buffer(0)));
	stream(fd, 0);
	if (qbuf(fd, 0) < 0 || stream(fd, 1) < 0)
		die("QBUF or STREAMON");
	poll(&p, 1, 2000);
	say("flags.dqbuf.restarted", call(fd, VIDIOC_DQBUF, buffer(0)));
	close(fd);
}

static void file_io(void)
{
	int fd = device(), second = device();
	unsigned char *bytes = calloc(1, size);
	say("transfer.wrong-way", out ? read(fd, bytes, size) : write(fd, bytes, size));
	long moved = transfer(fd, bytes, size);
	say("transfer.first", moved == (long)size ? 1 : moved);
	say("transfer.reqbufs", mmap_buffers(fd, 2));
	say("transfer.reqbufs-0", mmap_buffers(fd, 0));
	say("transfer.querybuf", call(fd, VIDIOC_QUERYBUF, buffer(0)));
	say("transfer.qbuf", qbuf(fd, 0));
	say("transfer.expbuf", export_buffer(fd, 0, 0, O_RDWR));
	say("transfer.streamon", stream(fd, 1));
	say("transfer.streamoff", stream(fd, 0));
	say("transfer.create", create_count(fd, 1));
	say("transfer.remove", remove_range(fd, 0, 1));
	say("transfer.prepare", call(fd, VIDIOC_PREPARE_BUF, buffer(0)));
	say("second.transfer", transfer(second, bytes, size));
	say("second.querybuf-of-transfer", call(second, VIDIOC_QUERYBUF, buffer(0)));
	say("second.create-0-of-transfer", create_count(second, 0));
	struct pollfd p = { .fd = fd, .events = out ? POLLOUT : POLLIN };
	poll(&p, 1, 2000);
	say("transfer.bad-pointer", transfer(fd, (void *)8, size));
	close(second);
	close(fd);

	fd = device();
	say_poll("poll.no-buffers.other-events", fd, out ? POLLIN : POLLOUT, 0);
	say("reqbufs.after-poll-of-other-events", mmap_buffers(fd, 2));
	mmap_buffers(fd, 0);
	p.fd = fd;
	int ready = poll(&p, 1, out ? 0 : 2000);
	say("poll.no-buffers", ready == 1 ? p.revents & (POLLIN | POLLOUT | POLLERR) : ready);
	say("reqbufs.after-poll", mmap_buffers(fd, 2));
	close(fd);
	free(bytes);
}

// The device's buttons, in their order (`inject=on`).
enum { SETUP, PREPARE, START, QUEUE, ABSENT };

static void press(int fd, unsigned button)
{
	struct v4l2_control c = { .id = 0x0098f910 + button };
	if (ioctl(fd, VIDIOC_S_CTRL, &c) < 0)
		die("VIDIOC_S_CTRL");
}

static void queue_errors(void)
{
	int fd = sleeper_fd = open_node(node, 0);
	mmap_buffers(fd, 2);
	stream(fd, 1);
	pthread_t thread = fall_asleep();
	press(fd, QUEUE);
	say_sleeper("sleeper.queue-error", thread);
	say("error.qbuf", qbuf(fd, 0));
	say("error.dqbuf", call(fd, VIDIOC_DQBUF, buffer(0)));
	say("error.prepare", call(fd, VIDIOC_PREPARE_BUF, buffer(0)));
	say_poll("error.poll", fd, out ? POLLOUT : POLLIN, 0);
	say("error.create", create_count(fd, 1));
	say("error.streamoff", stream(fd, 0));
	say("error.qbuf-after-streamoff", qbuf(fd, 0));
	close(fd);
}

static void driver_errors(void)
{
	int fd = device();
	mmap_buffers(fd, 2);
	qbuf(fd, 0);
	press(fd, START);
	say("fault.streamon", stream(fd, 1));
	say("fault.dqbuf", call(fd, VIDIOC_DQBUF, buffer(0)));
	struct v4l2_buffer b = buffer(0);
	if (ioctl(fd, VIDIOC_QUERYBUF, &b) < 0)
		die("VIDIOC_QUERYBUF");
	unsigned states = V4L2_BUF_FLAG_QUEUED | V4L2_BUF_FLAG_DONE | V4L2_BUF_FLAG_ERROR;
	printf("fault.still-queued flags=%x\n", b.flags & states);
	fflush(stdout);
	say("fault.streamon-again", stream(fd, 1));
	stream(fd, 0);
	press(fd, PREPARE);
	say("fault.prepare", qbuf(fd, 0));
	say("fault.prepare-again", qbuf(fd, 0));
	press(fd, SETUP);
	say("fault.reqbufs", mmap_buffers(fd, 2));
	press(fd, SETUP);
	say("fault.create", create_count(fd, 1));
	say("fault.reqbufs-again", mmap_buffers(fd, 2));
	close(fd);
}

// A device that needs three buffers before it starts (`min-queued=3`).
static void three_needed(void)
{
	int fd = device();
	say("three-needed.reqbufs-1", mmap_buffers(fd, 1));
	say("three-needed.streamon", stream(fd, 1));
	say("three-needed.qbuf-first", qbuf(fd, 0));
	say("three-needed.dqbuf", call(fd, VIDIOC_DQBUF, buffer(0)));
	qbuf(fd, 1);
	press(fd, ABSENT);
	say("three-needed.qbuf-third-fails", qbuf(fd, 2));
	struct v4l2_buffer b = buffer(2);
	if (ioctl(fd, VIDIOC_QUERYBUF, &b) < 0)
		die("VIDIOC_QUERYBUF");
	printf("three-needed.state-of-third flags=%x\n", b.flags & (V4L2_BUF_FLAG_QUEUED | V4L2_BUF_FLAG_DONE | V4L2_BUF_FLAG_PREPARED));
	fflush(stdout);
	say("three-needed.qbuf-third", qbuf(fd, 2));
	struct pollfd p = { .fd = fd, .events = out ? POLLOUT : POLLIN };
	poll(&p, 1, 2000);
	say("three-needed.dqbuf-started", call(fd, VIDIOC_DQBUF, buffer(0)));
	close(fd);
	fd = device();
	say("three-needed.create-2", create_count(fd, 2) == 2 ? 0 : -1);
	say("three-needed.streamon-with-2", stream(fd, 1));
	create_count(fd, 2);
	for (unsigned i = 0; i < 3; i++)
		qbuf(fd, i);
	press(fd, ABSENT);
	say("three-needed.streamon-fails", stream(fd, 1));
	say("three-needed.streamon-again", stream(fd, 1));
	close(fd);
}

int main(int argc, char **argv)
{
	set_up(argc, argv, 0);
	if (argc > 4 && !strcmp(argv[4], "min-queued")) {
		three_needed();
		return 0;
	}
	allocation();
	second_handle();
	queueing();
	exporting_and_mapping();
	creating_and_removing();
	if (argc > 4)
		user_pointers();
	imports_of_size();
	if (out)
		import_payloads();
	imports();
	streaming();
	model();
	sleeping();
	queue_errors();
	driver_errors();
	last_flag();
	file_io();
	return 0;
}
