// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tests that need a device with real DMA, through the driver of kernel/lab/driver: user pointers,
 * scattered imports, non-coherent buffers, exports, kernel mappings, and the defects of the stock
 * module. Prints one line of JSON for each step on stdout.
 *
 *   edu DEVICE PREFIX         all steps; their names begin with PREFIX
 *   edu DEVICE PREFIX patches TEST...
 *                             what patches of docs/upstream fix: `zeroed`: old contents, which show only
 *                             behind an IOMMU; `vmap`: the kernel's mapping of a program's memory
 */
#define _GNU_SOURCE
#include "edu.h"

/* Copies by DMA from every kind of memory to every kind, then by the kernel's mapping within each kind. */
static void kinds(void)
{
	static const char *const all[] = { "coherent", "noncoherent", "userptr", "heap", "udmabuf" };
	struct buffer out, cap;
	char name[64];
	int user = 0;

	set_size(65536);
	for (unsigned int i = 0; i < 5; i++)
		for (unsigned int j = 0; j < 5; j++) {
			int error = make(&out, OUT, all[i]);

			if (i && j && i != j)
				goto next;
			if (!error)
				error = make(&cap, CAP, all[j]);
			else
				cap = (struct buffer){ .type = CAP, .memory = 1, .fd = -1 };
			snprintf(name, sizeof(name), "dma.%s.%s", all[i], all[j]);
			if (error)
				step(name, "\"errno\":%d", error);
			else
				error = round_trip(name, &out, &cap, 4);
			if (!strcmp(name, "dma.userptr.userptr"))
				user = error;
			unmake(&cap);
next:
			unmake(&out);
		}
	parameter("cpu", "1");
	for (unsigned int i = 0; i < 5; i++) {
		int error;

		/* Here, the stock module treats a program's memory as its own, and the kernel oopses. */
		if (!strcmp(all[i], "userptr") && !strcmp(prefix, "c"))
			continue;
		error = make(&out, OUT, all[i]);
		if (!error)
			error = make(&cap, CAP, all[i]);
		snprintf(name, sizeof(name), "vmap.%s", all[i]);
		/* With a program's memory, this must end with the same errno (or success) as the copy by DMA. */
		want = strcmp(all[i], "userptr") ? -1 : user;
		if (error)
			step(name, "\"errno\":%d", error);
		else
			round_trip(name, &out, &cap, 0);
		want = -1;
		unmake(&cap);
		unmake(&out);
	}
	parameter("cpu", "0");
}

static long pages_not_zero(uint32_t index)
{
	struct v4l2_buffer v = { .type = CAP, .memory = V4L2_MEMORY_MMAP, .index = index };
	uint8_t *view;
	long bad = 0;

	if (call(video, VIDIOC_QUERYBUF, &v))
		return -1;
	view = mmap(NULL, v.length, PROT_READ | PROT_WRITE, MAP_SHARED, video, v.m.offset);
	for (uint32_t page = 0; page < v.length; page += 4096)
		for (uint32_t i = 0; i < 4096; i++)
			if (view[page + i]) {
				bad++;
				break;
			}
	munmap(view, v.length);
	return bad;
}

/* Lets another program fill most of the memory and end, so that free pages have old contents. */
static void dirty_memory(void)
{
	unsigned long free_kb = 0;
	char line[128];
	FILE *info = fopen("/proc/meminfo", "r");

	while (info && fgets(line, sizeof(line), info))
		if (sscanf(line, "MemAvailable: %lu", &free_kb) == 1)
			break;
	if (info)
		fclose(info);
	if (fork() == 0) {
		size_t size = (free_kb - free_kb / 8) << 10;
		void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (at != MAP_FAILED)
			memset(at, 0xa5, size);
		_exit(0);
	}
	wait(NULL);
}

/* Checks that new buffers are zeroed, even if flags select an unusual way of allocation. */
static void zeroed_of(const char *name, unsigned int flags)
{
	int error = reqbufs(CAP, V4L2_MEMORY_MMAP, 8, flags);
	long dirty = 0;

	for (uint32_t index = 0; index < 8 && !error; index++)
		dirty += pages_not_zero(index);
	step(name, "\"defect\":3,\"errno\":%d,\"pages\":%u,\"dirty_pages\":%ld,\"ok\":%s", error,
	     8 * bytes / 4096, dirty, dirty ? "false" : "true");
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
}

static void zeroed(void)
{
	set_size(4 << 20);
	dirty_memory();
	zeroed_of("zero.noncoherent", V4L2_MEMORY_FLAG_NON_COHERENT);
	parameter("attrs", "16");
	dirty_memory();
	zeroed_of("zero.no-kernel-mapping", 0);
	parameter("attrs", "0");
}

static void wish(const char *what, uint32_t flags)
{
	int error = reqbufs(CAP, V4L2_MEMORY_MMAP, 1, flags);
	char name[64];

	snprintf(name, sizeof(name), "wish.%s", what);
	step(name, "\"defect\":15,\"errno\":%d,\"ok\":%s", error, error ? "false" : "true");
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
}

/* Allocates with an attribute that is only for memory of another kind: the stock module warns or fails. */
static void attributes(void)
{
	set_size(65536);
	parameter("attrs", "16");
	wish("noncoherent+no-kernel-mapping", V4L2_MEMORY_FLAG_NON_COHERENT);
	parameter("attrs", "0");
}

/* Allocates with a zone flag that is only for memory of another kind. */
static void zones(void)
{
	set_size(65536);
	parameter("gfp", "4");
	wish("noncoherent+dma32", V4L2_MEMORY_FLAG_NON_COHERENT);
	parameter("gfp", "0");
}

/* Makes contradictory requests, then one that exceeds all memory. */
static void wishes(void)
{
	attributes();
	zones();
	/* For the stock module, the OOM killer would first kill other programs, the tests among them. */
	if (!strcmp(prefix, "c"))
		return;
	set_size(0xfffff000u);
	step("wish.huge", "\"errno\":%d,\"want\":%d", reqbufs(CAP, V4L2_MEMORY_MMAP, 1, 0), ENOMEM);
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
	set_size(65536);
}

static void refused(const char *what, int wanted, int error)
{
	char name[64];

	snprintf(name, sizeof(name), "refuse.%s", what);
	step(name, "\"errno\":%d,\"want\":%d", error, wanted);
}

/* Checks the errno of each refusal that a program can provoke here. */
static void refusals(void)
{
	struct buffer b = { .type = CAP, .fd = -1 };
	uint8_t *at;

	set_size(65536);
	reqbufs(CAP, V4L2_MEMORY_USERPTR, 1, 0);
	b.memory = V4L2_MEMORY_USERPTR;
	b.view = (uint8_t *)0x10000;
	refused("userptr.unmapped", EFAULT, qbuf(&b));
	at = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b.view = at;
	refused("userptr.read-only", EFAULT, qbuf(&b));
	munmap(at, bytes);
	at = scattered(bytes);
	munmap(at + bytes - 4096, 4096);
	b.view = at;
	refused("userptr.short", EFAULT, qbuf(&b));
	munmap(at, bytes - 4096);
	reqbufs(CAP, V4L2_MEMORY_DMABUF, 1, 0);
	b.memory = V4L2_MEMORY_DMABUF;
	b.fd = heap_buffer(4096);
	refused("dmabuf.small", EFAULT, qbuf(&b));
	close(b.fd);
	b.fd = 0;
	refused("dmabuf.no-dmabuf", EINVAL, qbuf(&b));
	reqbufs(CAP, V4L2_MEMORY_DMABUF, 0, 0);
}

/* Checks that a file in debugfs has all these words in this order, in one line or several. */
static void tells(const char *file, const char *const *words, int count)
{
	static char text[1 << 20];
	const char *at;
	char path[128];
	int i;

	snprintf(path, sizeof(path), "/sys/kernel/debug/vb2-dma-contig/%s", file);
	at = text_of(path, text, sizeof(text));
	for (i = 0; i < count && at; i++)
		at = strstr(at, words[i]);
	snprintf(path, sizeof(path), "debugfs.%s", file);
	step(path, "\"ok\":%s,\"missing\":\"%s\"", at ? "true" : "false", at ? "" : words[i - 1]);
	if (!at)
		fprintf(stderr, "%s:\n%s\n", file, text);
}

/* Checks that debugfs has a buffer, its holders, and the last refusal. For our module only. */
static void told(void)
{
	static const char *const buffers[] = {
		"MMAP non-coherent, 65536 bytes at 0x", "by edu[", "queue 0000:", "mapping in a program",
		"dma-buf", "mapped 0000:", "to device", "DMABUF, 65536 bytes at 0x", "inode",
		"65536 bytes", "mapped 0000:",
	};
	static const char *const refusals[] = { "edu[", "a dma-buf", "wanted 65536, found 4096" };
	struct v4l2_exportbuffer e = { .type = CAP, .flags = O_RDWR | O_CLOEXEC };
	struct buffer cap, out = { .type = OUT, .memory = V4L2_MEMORY_DMABUF };
	int error;

	set_size(65536);
	error = make(&cap, CAP, "noncoherent");
	error = error ? error : call(video, VIDIOC_EXPBUF, &e);
	out.fd = e.fd;
	error = error ? error : reqbufs(OUT, V4L2_MEMORY_DMABUF, 1, 0);
	error = error ? error : qbuf(&out);
	step("debugfs.set-up", "\"errno\":%d,\"want\":0", error);
	tells("buffers", buffers, sizeof(buffers) / sizeof(buffers[0]));
	reqbufs(OUT, V4L2_MEMORY_DMABUF, 0, 0);
	close(e.fd);
	unmake(&cap);
	reqbufs(CAP, V4L2_MEMORY_DMABUF, 1, 0);
	out = (struct buffer){ .type = CAP, .memory = V4L2_MEMORY_DMABUF, .fd = heap_buffer(4096) };
	qbuf(&out);
	tells("refusals", refusals, 3);
	close(out.fd);
	reqbufs(CAP, V4L2_MEMORY_DMABUF, 0, 0);
}

/* Makes the first step inside the module fail, then the second, and so on, until the operation
 * succeeds. Each time the errno must be right, and nothing may be held afterwards. For our module
 * only. */

static struct buffer failing_on;
static int failing_fd;

static int do_coherent(void)
{
	return reqbufs(CAP, V4L2_MEMORY_MMAP, 1, 0);
}

static int do_noncoherent(void)
{
	return reqbufs(CAP, V4L2_MEMORY_MMAP, 1, V4L2_MEMORY_FLAG_NON_COHERENT);
}

static int do_qbuf(void)
{
	return qbuf(&failing_on);
}

static int do_export(void)
{
	struct v4l2_exportbuffer e = { .type = CAP, .flags = O_RDWR | O_CLOEXEC };
	int ret = call(video, VIDIOC_EXPBUF, &e);

	failing_fd = ret ? -1 : e.fd;
	return ret;
}

static void held(char *text, size_t size)
{
	/* The counts of syncs and refusals only grow, so they are left out. */
	char *end = strstr(text_of("/sys/kernel/debug/vb2-dma-contig/counters", text, size), "syncs");

	if (end)
		*end = 0;
}

static void fails(const char *what, int (*operation)(void), void (*undo)(void), const char *due)
{
	char before[512], after[512], seen[128] = "", name[64];
	int error = 1, leaks = 0;

	held(before, sizeof(before));
	for (unsigned int at = 1; error && at < 16; at++) {
		fail_at(at);
		error = operation();
		fail_at(0);
		snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s%d", at > 1 ? "," : "",
			 error);
		held(after, sizeof(after));
		leaks += error && strcmp(before, after);
	}
	undo();
	snprintf(name, sizeof(name), "fail.%s", what);
	step(name, "\"errnos\":\"%s\",\"due\":\"%s\",\"leaks\":%d,\"ok\":%s", seen, due, leaks,
	     strcmp(seen, due) || leaks ? "false" : "true");
}

static void undo_buffers(void)
{
	call(video, VIDIOC_STREAMOFF, &(int){ CAP });
	reqbufs(CAP, V4L2_MEMORY_MMAP, 0, 0);
}

static void undo_export(void)
{
	close(failing_fd);
	undo_buffers();
}

static void failing(void)
{
	set_size(4096);
	fails("alloc.coherent", do_coherent, undo_buffers, "12,12,0");
	fails("alloc.noncoherent", do_noncoherent, undo_buffers, "12,12,0");
	do_coherent();
	fails("export", do_export, undo_export, "22,22,0");
	failing_on = (struct buffer){ .type = CAP, .memory = V4L2_MEMORY_USERPTR, .fd = -1 };
	failing_on.view = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	reqbufs(CAP, V4L2_MEMORY_USERPTR, 1, 0);
	fails("userptr", do_qbuf, undo_buffers, "12,12,5,0");
	reqbufs(CAP, V4L2_MEMORY_USERPTR, 0, 0);
	failing_on.memory = V4L2_MEMORY_DMABUF;
	failing_on.fd = heap_buffer(4096);
	reqbufs(CAP, V4L2_MEMORY_DMABUF, 1, 0);
	fails("dmabuf", do_qbuf, undo_buffers, "12,12,22,0");
	close(failing_on.fd);
	munmap(failing_on.view, 4096);
	reqbufs(CAP, V4L2_MEMORY_DMABUF, 0, 0);
}

/* Copies through the kernel's mapping of a program's memory: of whole pages, and within pages. */
static void vmap_of_user(void)
{
	struct buffer out, cap;
	int error;

	set_size(65536);
	parameter("cpu", "1");
	want = 0;
	error = make(&out, OUT, "userptr");
	error = error ? error : make(&cap, CAP, "userptr");
	if (error) {
		step("vmap.userptr", "\"errno\":%d,\"want\":0", error);
		return;
	}
	round_trip("vmap.userptr", &out, &cap, 0);
	reqbufs(OUT, V4L2_MEMORY_USERPTR, 0, 0);
	reqbufs(CAP, V4L2_MEMORY_USERPTR, 0, 0);
	set_size(65536 - 4096);
	reqbufs(OUT, V4L2_MEMORY_USERPTR, 1, 0);
	reqbufs(CAP, V4L2_MEMORY_USERPTR, 1, 0);
	out.view += 512;
	cap.view += 1024;
	round_trip("vmap.userptr-within-pages", &out, &cap, 0);
	parameter("cpu", "0");
}

/* Tests what patches of docs/upstream fix. */
static int patches(char **names)
{
	for (; *names; names++)
		if (!strcmp(*names, "vmap")) {
			vmap_of_user();
		} else if (!strcmp(*names, "zeroed")) {
			set_size(4 << 20);
			dirty_memory();
			zeroed_of("zero.noncoherent", V4L2_MEMORY_FLAG_NON_COHERENT);
		} else {
			return 2;
		}
	return 0;
}

int main(int argc, char **argv)
{
	prefix = argc > 2 ? argv[2] : "x";
	video = open(argv[1], O_RDWR);
	if (video < 0) {
		step("open", "\"ok\":false,\"errno\":%d", errno);
		return 1;
	}
	if (argc > 3 && !strcmp(argv[3], "patches"))
		return patches(argv + 4);
	kinds();
	refusals();
	if (strcmp(prefix, "c")) {
		told();
		failing();
	}
	zeroed();
	wishes();
	return 0;
}
