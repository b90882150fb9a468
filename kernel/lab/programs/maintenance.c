// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Prints how many bytes of caches the kernel cleans and invalidates for each QBUF and DQBUF, for the
 * device and for the CPU, by kind of memory, direction and hint, beside the number that videobuf2's
 * rules require. The machine's devices do not see the CPU's caches. The driver completes a buffer
 * within QBUF (instant=1). Also prints the calls and bytes of an import: for the first QBUF, which maps the
 * buffer, for a later one, and for the unmapping.
 *
 *   maintenance DEVICE PREFIX BYTES
 */
#define _GNU_SOURCE
#include "edu.h"

#define TRACING "/sys/kernel/debug/tracing/"
#define FRAME (1u << 20)

/* Bytes of the kernel's cache maintenance, and its calls. */
struct seen {
	unsigned long device, cpu, calls;
};

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND), ret;

	if (fd < 0)
		return errno;
	ret = write(fd, text, strlen(text)) < 0 ? errno : 0;
	close(fd);
	return ret;
}

static int watch(void)
{
	int error = put(TRACING "kprobe_events",
			"p:vb3/device arch_sync_dma_for_device bytes=%x1:u64 way=%x2:u32\n");

	if (!error)
		error = put(TRACING "kprobe_events",
			    "p:vb3/cpu arch_sync_dma_for_cpu bytes=%x1:u64 way=%x2:u32\n");
	if (!error)
		error = put(TRACING "events/vb3/enable", "1");
	step("maintenance.watch", "\"errno\":%d,\"want\":0", error);
	return error;
}

static void unwatch(void)
{
	put(TRACING "events/vb3/enable", "0");
	put(TRACING "kprobe_events", "-:vb3/device\n");
	put(TRACING "kprobe_events", "-:vb3/cpu\n");
}

static void forget(void)
{
	close(open(TRACING "trace", O_WRONLY | O_TRUNC));
}

/* Returns the maintenance since the last forget(). After a device's read (way 1), the kernel does
 * nothing for the CPU. */
static struct seen look(void)
{
	struct seen seen = { 0 };
	char line[512];
	FILE *trace = fopen(TRACING "trace", "r");

	while (trace && fgets(line, sizeof(line), trace)) {
		char *at = strstr(line, "bytes=");
		unsigned long n;
		unsigned int way;

		if (!at || sscanf(at, "bytes=%lu way=%u", &n, &way) != 2)
			continue;
		if (strstr(line, "vb3/cpu") || strstr(line, " cpu:")) {
			if (way == 1)
				continue;
			seen.cpu += n;
		} else {
			seen.device += n;
		}
		seen.calls++;
	}
	if (trace)
		fclose(trace);
	return seen;
}

static void tell(const char *name, int error, struct seen seen, struct seen due)
{
	step(name, "\"errno\":%d,\"want\":0,\"for_device\":%lu,\"for_cpu\":%lu,\"due_device\":%lu,"
	     "\"due_cpu\":%lu,\"ok\":%s", error, seen.device, seen.cpu, due.device, due.cpu,
	     !error && seen.device == due.device && seen.cpu == due.cpu ? "true" : "false");
}

static const struct hint {
	const char *name;
	unsigned int flags;
} hints[] = {
	{ "plain", 0 },
	{ "no-clean", V4L2_BUF_FLAG_NO_CACHE_CLEAN },
	{ "no-invalidate", V4L2_BUF_FLAG_NO_CACHE_INVALIDATE },
	{ "neither", V4L2_BUF_FLAG_NO_CACHE_CLEAN | V4L2_BUF_FLAG_NO_CACHE_INVALIDATE },
};

/* Returns the maintenance that a buffer needs. Only MMAP accepts hints. For coherent memory and imports,
 * videobuf2 need not maintain any cache. */
static struct seen due(const char *kind, int type, unsigned int flags)
{
	int is_mmap = !strcmp(kind, "coherent") || !strcmp(kind, "noncoherent");
	int syncs = !strcmp(kind, "userptr") || !strcmp(kind, "noncoherent");

	if (!is_mmap)
		flags = 0;
	return (struct seen){
		.device = syncs && !(flags & V4L2_BUF_FLAG_NO_CACHE_CLEAN) ? bytes : 0,
		.cpu = syncs && type == CAP && !(flags & V4L2_BUF_FLAG_NO_CACHE_INVALIDATE) ?
			bytes : 0,
	};
}

/* Queues and dequeues one buffer of a kind twice. Only the second time is measured, since the first
 * one also maps the buffer. */
static void cycle(const char *kind, int type, const struct hint *hint)
{
	struct seen at_queue = { 0 }, at_dequeue = { 0 };
	const char *way = type == CAP ? "capture" : "output";
	struct buffer b;
	char name[96];
	int error = make(&b, type, kind);

	b.flags = hint->flags;
	error = error ? error : call(video, VIDIOC_STREAMON, &type);
	for (int round = 0; round < 2 && !error; round++) {
		forget();
		error = qbuf(&b);
		at_queue = look();
		forget();
		error = error ? error : dqbuf(&b);
		at_dequeue = look();
	}
	snprintf(name, sizeof(name), "qbuf.%s.%s.%s", kind, way, hint->name);
	tell(name, error, at_queue, due(kind, type, hint->flags));
	snprintf(name, sizeof(name), "dqbuf.%s.%s.%s", kind, way, hint->name);
	tell(name, error, at_dequeue, (struct seen){ 0 });
	call(video, VIDIOC_STREAMOFF, &type);
	unmake(&b);
}

/* Imports an exported buffer of one frame. dma-contig's coherent memory needs no maintenance. */
static void import(const char *kind, int type)
{
	struct v4l2_exportbuffer e = { .type = type == CAP ? OUT : CAP, .flags = O_RDWR | O_CLOEXEC };
	int error = set_size(FRAME), is_judged = !strcmp(kind, "coherent");
	struct seen at[3] = { 0 };
	unsigned long all = 0;
	struct buffer from = { .fd = -1 }, to;
	char name[96];

	error = error ? error : make(&from, e.type, kind);
	error = error ? error : call(video, VIDIOC_EXPBUF, &e);
	to = (struct buffer){ .type = type, .memory = V4L2_MEMORY_DMABUF, .fd = e.fd };
	error = error ? error : reqbufs(type, to.memory, 1, 0);
	error = error ? error : call(video, VIDIOC_STREAMON, &type);
	for (int round = 0; round < 2 && !error; round++) {
		forget();
		error = qbuf(&to);
		at[round] = look();
		error = error ? error : dqbuf(&to);
	}
	forget();
	call(video, VIDIOC_STREAMOFF, &type);
	unmake(&to);
	at[2] = look();
	unmake(&from);
	for (int i = 0; i < 3; i++)
		all += at[i].calls;
	snprintf(name, sizeof(name), "import.%s.%s", kind, type == CAP ? "capture" : "output");
	step(name, "\"errno\":%d,\"want\":0,\"map_calls\":%lu,\"map_bytes\":%lu,\"qbuf_calls\":%lu,"
	     "\"qbuf_bytes\":%lu,\"unmap_calls\":%lu,\"unmap_bytes\":%lu,\"ok\":%s", error,
	     at[0].calls, at[0].device + at[0].cpu, at[1].calls, at[1].device + at[1].cpu,
	     at[2].calls, at[2].device + at[2].cpu, !error && !(is_judged && all) ? "true" : "false");
}

int main(int argc, char **argv)
{
	static const char *const kinds[] = { "coherent", "noncoherent", "userptr", "udmabuf" };

	prefix = argc > 2 ? argv[2] : "x";
	video = argc > 1 ? open(argv[1], O_RDWR) : -1;
	if (video < 0 || argc < 4) {
		step("open", "\"ok\":false,\"errno\":%d", errno);
		return 1;
	}
	set_size(atoi(argv[3]));
	if (watch())
		return 1;
	for (unsigned int kind = 0; kind < 4; kind++)
		for (int way = 0; way < 2; way++)
			for (unsigned int hint = 0; hint < 4; hint++)
				cycle(kinds[kind], way ? CAP : OUT, &hints[hint]);
	for (int kind = 0; kind < 2; kind++)
		for (int way = 0; way < 2; way++)
			import(kinds[kind], way ? CAP : OUT);
	unwatch();
	return 0;
}
