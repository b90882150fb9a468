// Prints what poll and epoll report of a dma-buf with fences, one line per check. If a stock kernel
// reports something else, the line has that too, and the check fails. Argument: vgem, for a buffer and
// fences of that driver, or sw_sync, for a buffer of the system heap with imported fences.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

// From include/uapi/drm, for systems without libdrm's headers.
struct version { int numbers[3]; size_t name_len; char *name; size_t date_len; char *date;
		 size_t desc_len; char *desc; };
struct dumb { __u32 height, width, bpp, flags, handle, pitch; __u64 size; };
struct prime { __u32 handle, flags; __s32 fd; };
struct attach { __u32 handle, flags, out_fence, pad; };
struct signal { __u32 fence, flags; };
#define GET_VERSION _IOWR('d', 0x00, struct version)
#define PRIME_HANDLE_TO_FD _IOWR('d', 0x2d, struct prime)
#define CREATE_DUMB _IOWR('d', 0xb2, struct dumb)
#define FENCE_ATTACH _IOWR('d', 0x41, struct attach)
#define FENCE_SIGNAL _IOW('d', 0x42, struct signal)
#define FENCE_WRITE 1

// From drivers/dma-buf/sw_sync.c.
struct create { __u32 value; char name[32]; __s32 fence; };
#define CREATE_FENCE _IOWR('W', 0, struct create)
#define INCREMENT _IOW('W', 1, __u32)

#define BOTH (EPOLLIN | EPOLLOUT)

// `buf` is the polled file: the buffer, or a sync file of its fences.
static int card = -1, timeline = -1, dmabuf, buf, set;
static __u32 handle, fence, value;

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(2);
	}
}

static void open_vgem(void)
{
	struct dumb dumb = { .width = 64, .height = 64, .bpp = 32 };
	struct prime prime = { .flags = O_CLOEXEC | O_RDWR };
	char path[32], name[8] = "";
	struct version version = { .name = name };
	for (int i = 0; i < 8 && strcmp(name, "vgem"); i++) {
		snprintf(path, sizeof path, "/dev/dri/card%d", i);
		close(card);
		card = open(path, O_RDWR | O_CLOEXEC);
		version.name_len = sizeof name - 1;
		if (card >= 0)
			ioctl(card, GET_VERSION, &version);
	}
	must(strcmp(name, "vgem") ? -1 : 0, "vgem");
	must(ioctl(card, CREATE_DUMB, &dumb), "CREATE_DUMB");
	prime.handle = handle = dumb.handle;
	must(ioctl(card, PRIME_HANDLE_TO_FD, &prime), "HANDLE_TO_FD");
	dmabuf = prime.fd;
}

static void open_heap(void)
{
	struct dma_heap_allocation_data data = { .len = 4096, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);
	must(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data), "/dev/dma_heap/system");
	dmabuf = data.fd;
	timeline = open("/sys/kernel/debug/sync/sw_sync", O_RDWR | O_CLOEXEC);
	must(timeline, "sw_sync");
}

// A fence marks the buffer as written or read until end().
static void begin(int writes)
{
	if (card >= 0) {
		struct attach attach = { .handle = handle,
							.flags = writes ? FENCE_WRITE : 0 };
		must(ioctl(card, FENCE_ATTACH, &attach), "FENCE_ATTACH");
		fence = attach.out_fence;
		return;
	}
	struct create create = { .value = value + 1, .name = "buffers" };
	must(ioctl(timeline, CREATE_FENCE, &create), "CREATE_FENCE");
	struct dma_buf_import_sync_file import = { .fd = create.fence, .flags = writes ? DMA_BUF_SYNC_WRITE
										       : DMA_BUF_SYNC_READ };
	must(ioctl(dmabuf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import), "IMPORT_SYNC_FILE");
	close(import.fd);
}

static void end(void)
{
	struct signal signal = { .fence = fence };
	__u32 by = 1;
	if (card >= 0) {
		must(ioctl(card, FENCE_SIGNAL, &signal), "FENCE_SIGNAL");
		return;
	}
	value++;
	must(ioctl(timeline, INCREMENT, &by), "INCREMENT");
}

static int failed;

static void say(const char *name, const char *found, const char *wanted)
{
	int is_wanted = !strcmp(found, wanted);
	printf("%s: %s%s%s\n", name, found, is_wanted ? "" : ", not ", is_wanted ? "" : wanted);
	failed |= !is_wanted;
}

static const char *events(unsigned found)
{
	switch (found & BOTH) {
	case BOTH: return "in+out";
	case EPOLLIN: return "in";
	case EPOLLOUT: return "out";
	default: return "none";
	}
}

// Waits up to a second for an expected event.
static void polled(const char *name, int asked, int wait, const char *wanted)
{
	struct pollfd fds = { .fd = buf, .events = asked };
	int count = poll(&fds, 1, wait ? 1000 : 0);
	say(name, events(count > 0 ? fds.revents : 0), wanted);
}

static void reported(const char *name, int wait, const char *wanted)
{
	struct epoll_event event = { 0 };
	int count = epoll_wait(set, &event, 1, wait ? 1000 : 0);
	say(name, events(count > 0 ? event.events : 0), wanted);
}

static void control(const char *name, int op, unsigned asked, const char *wanted)
{
	struct epoll_event event = { .events = asked };
	int result = epoll_ctl(set, op, buf, &event);
	say(name, result ? strerrorname_np(errno) : "ok", wanted);
}

static void polls(void)
{
	polled("poll, idle", BOTH, 0, "in+out");
	begin(1);
	polled("poll, written", BOTH, 0, "none");
	polled("poll, written in", POLLIN, 0, "none");
	end();
	polled("poll, written ended", BOTH, 1, "in+out");
	begin(0);
	polled("poll, read", BOTH, 0, "in");
	polled("poll, read out", POLLOUT, 0, "none");
	end();
	polled("poll, read ended", POLLOUT, 1, "out");
	polled("poll, nothing", 0, 0, "none");
}

static void levels(void)
{
	control("add", EPOLL_CTL_ADD, BOTH, "ok");
	control("add again", EPOLL_CTL_ADD, BOTH, "EEXIST");
	reported("idle", 1, "in+out");
	reported("idle again", 1, "in+out");
	begin(1);
	reported("written", 0, "none");
	end();
	reported("written ended", 1, "in+out");
	begin(0);
	reported("read", 1, "in");
	end();
	reported("read ended", 1, "in+out");
	control("delete", EPOLL_CTL_DEL, 0, "ok");
	control("delete again", EPOLL_CTL_DEL, 0, "ENOENT");
	control("modify deleted", EPOLL_CTL_MOD, BOTH, "ENOENT");
	begin(1);
	control("add written", EPOLL_CTL_ADD, EPOLLIN, "ok");
	reported("added written", 0, "none");
	end();
	reported("added written ended", 1, "in");
	control("delete", EPOLL_CTL_DEL, 0, "ok");
}

static void edges(void)
{
	control("edge add", EPOLL_CTL_ADD, BOTH | EPOLLET, "ok");
	reported("edge idle", 1, "in+out");
	reported("edge idle again", 1, "in+out");
	begin(1);
	control("edge modify written", EPOLL_CTL_MOD, BOTH | EPOLLET, "ok");
	reported("edge written", 0, "none");
	end();
	reported("edge written ended", 1, "in+out");
	reported("edge written ended again", 1, "in+out");
	begin(1);
	end();
	reported("edge unseen", 1, "in+out");
	begin(0);
	reported("edge read", 1, "in");
	reported("edge read again", 1, "in");
	end();
	reported("edge read ended", 1, "in+out");
	begin(1);
	control("once", EPOLL_CTL_MOD, EPOLLOUT | EPOLLONESHOT, "ok");
	reported("once written", 0, "none");
	end();
	reported("once ended", 1, "out");
	reported("once again", 0, "none");
	control("delete", EPOLL_CTL_DEL, 0, "ok");
}

static void sync_file(void)
{
	struct dma_buf_export_sync_file export = { .flags = DMA_BUF_SYNC_READ };
	begin(1);
	must(ioctl(dmabuf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export), "EXPORT_SYNC_FILE");
	buf = export.fd;
	polled("sync file, poll, pending", BOTH, 0, "none");
	control("sync file, edge add", EPOLL_CTL_ADD, EPOLLIN | EPOLLET, "ok");
	reported("sync file, edge pending", 0, "none");
	end();
	reported("sync file, edge ended", 1, "in");
	reported("sync file, edge ended again", 0, "none");
	control("sync file, edge modify", EPOLL_CTL_MOD, EPOLLIN | EPOLLET, "ok");
	reported("sync file, edge modified", 1, "in");
	reported("sync file, edge modified again", 0, "none");
	control("sync file, modify", EPOLL_CTL_MOD, EPOLLIN, "ok");
	reported("sync file, ended", 1, "in");
	reported("sync file, ended again", 1, "in");
	polled("sync file, poll, ended", BOTH, 0, "in");
	close(buf);
	reported("sync file, closed", 0, "none");
	// A fence that ends before the first poll.
	begin(1);
	must(ioctl(dmabuf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export), "EXPORT_SYNC_FILE");
	buf = export.fd;
	end();
	control("late sync file, edge add", EPOLL_CTL_ADD, EPOLLIN | EPOLLET, "ok");
	reported("late sync file, edge", 1, "in");
	reported("late sync file, edge again", 0, "none");
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2)
		return 2;
	if (!strcmp(argv[1], "vgem"))
		open_vgem();
	else
		open_heap();
	set = epoll_create1(EPOLL_CLOEXEC);
	buf = dmabuf;
	polls();
	levels();
	edges();
	sync_file();
	return failed;
}
