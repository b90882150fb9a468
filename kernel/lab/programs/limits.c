// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tests what the stock module cannot do, and those of its defects that only a kernel module can show,
 * through the drivers of kernel/lab/driver. Prints one line of JSON for each step on stdout.
 *
 *   limits DEVICE PREFIX links ERRNO ERRNO
 *                                      memory in pieces, for a device with segment boundaries: the
 *                                      errno for a program's, and for another exporter's
 *   limits DEVICE PREFIX partial       a range over memory in pieces fails half-way, again and again
 *   limits DEVICE PREFIX untrusted ERRNO ERRNO
 *                                      memory in pieces, for a device that must not see other data
 *                                      in its pages: the errno for whole pages, and within pages
 *   limits DEVICE PREFIX calls [remap|race|at-zero]
 *                                      calls in an order that no program can cause
 *   limits DEVICE PREFIX remap         the call `remap`, on coherent memory
 *   limits DEVICE PREFIX pool OTHER    memory without pages, of another device
 *   limits DEVICE PREFIX board OTHER REGION START ERRNO ERRNO
 *                                      memory that a device tree reserves, from START on: the errno
 *                                      of a buffer, and that of importing it
 *   limits DEVICE PREFIX far OTHER     memory beyond the device's reach, of another device
 *   limits DEVICE PREFIX export-offset OTHER
 *                                      mmap of a dma-buf of such memory, from vmalloc
 */
#define _GNU_SOURCE
#include "edu.h"
#include "../driver/probe.h"

static int probe = -1;

/* Returns memory that begins with one small page, followed by adjacent pages. */
static uint8_t *small_then_large(void)
{
	uint8_t *huge = huge_page();

	memset(huge - 4096, 1, 4096);
	return huge - 4096;
}

static int chunked(const char *orders)
{
	struct probe_make m = { .count = strlen(orders) };

	for (unsigned int i = 0; i < m.count; i++)
		m.order[i] = orders[i] - '0';
	return call(probe, PROBE_MAKE, &m) ? -1 : m.fd;
}

static void with_each(const char *name, struct buffer *b)
{
	struct buffer other;
	char text[64];

	/* The device reads the buffer, then writes it. */
	snprintf(text, sizeof(text), "%s.read", name);
	b->type = OUT;
	if (reqbufs(OUT, b->memory, 1, 0) || make(&other, CAP, "coherent"))
		step(text, "\"ok\":false");
	else
		round_trip(text, b, &other, 4);
	unmake(&other);
	reqbufs(OUT, b->memory, 0, 0);
	snprintf(text, sizeof(text), "%s.write", name);
	b->type = CAP;
	if (reqbufs(CAP, b->memory, 1, 0) || make(&other, OUT, "coherent"))
		step(text, "\"ok\":false");
	else
		round_trip(text, &other, b, 4);
	unmake(&other);
	reqbufs(CAP, b->memory, 0, 0);
}

static void links(int user, int foreign)
{
	/* Chunks of 4096 << N bytes; "424" is 64 KiB, 16 KiB, 64 KiB. */
	static const char *const patterns[] = { "424", "04", "0404", "4040", "123402" };
	struct buffer b = { .memory = V4L2_MEMORY_USERPTR, .fd = -1 };
	char name[64];

	set_size(4096 + 256 * 1024);
	b.view = small_then_large();
	want = user;
	with_each("link.userptr", &b);
	/* This memory begins and ends within pages. */
	set_size(256 * 1024);
	b.view += 512;
	with_each("link.userptr-within-pages", &b);
	b.memory = V4L2_MEMORY_DMABUF;
	want = foreign;
	for (unsigned int i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		uint32_t size = 0;

		for (const char *order = patterns[i]; *order; order++)
			size += 4096u << (*order - '0');
		set_size(size);
		b.fd = chunked(patterns[i]);
		b.view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b.fd, 0);
		snprintf(name, sizeof(name), "link.dmabuf-%s", patterns[i]);
		if (b.fd < 0 || b.view == MAP_FAILED)
			step(name, "\"ok\":false");
		else
			with_each(name, &b);
		munmap(b.view, bytes);
		close(b.fd);
	}
}

static void untrusted(int whole, int within)
{
	struct buffer b = { .memory = V4L2_MEMORY_USERPTR, .fd = -1 };

	set_size(4096 + 256 * 1024);
	b.view = small_then_large();
	want = whole;
	with_each("untrusted.whole-pages", &b);
	/* Bounced memory must fit between two boundaries. */
	set_size(4096 + 40 * 1024 + 1536);
	want = within;
	with_each("untrusted.within-pages", &b);
}

/* Returns the device address of the module's only buffer; 0 if the module reports none. */
static unsigned long long dma_addr(void)
{
	char text[4096];
	const char *at = strstr(text_of("/sys/kernel/debug/vb2-dma-contig/buffers", text, sizeof(text)), " at 0x");

	return at ? strtoull(at + 4, NULL, 16) : 0;
}

static int queue_once(struct buffer *b, unsigned int failing, unsigned long long *addr)
{
	int error;

	fail_at(failing);
	error = reqbufs(CAP, b->memory, 1, 0);
	error = error ? error : qbuf(b);
	*addr = error ? 0 : dma_addr();
	reqbufs(CAP, b->memory, 0, 0);
	fail_at(0);
	return error;
}

/*
 * The second of two runs cannot be linked, so both addresses must be freed. The kernel allocates the
 * highest free addresses: after a leak, each further range is lower. It frees addresses some time after
 * their unmapping (its flush queue), so late ones return during the loop.
 */
static void partial(void)
{
	struct buffer b = { .type = CAP, .memory = V4L2_MEMORY_USERPTR, .fd = -1 };
	unsigned long long first = 0, last = 0, none;
	const long long most = 16 << 20;
	long long lost = 0;
	char errnos[64] = "";
	int error = 1;

	set_size(4096 + (1u << 20));
	b.view = small_then_large();
	for (unsigned int at = 1; error && at < 16; at++) {
		error = queue_once(&b, at, &first);
		snprintf(errnos + strlen(errnos), sizeof(errnos) - strlen(errnos), "%s%d",
			 at > 1 ? "," : "", error);
	}
	for (unsigned int round = 0; round < 50; round++)
		for (unsigned int at = 4; at <= 6; at++)
			queue_once(&b, at, &none);
	for (unsigned int asked = 0; asked < 300; asked++) {
		error = queue_once(&b, 0, &last);
		lost = (long long)(first - last);
		if (error || lost < most)
			break;
		usleep(10000);
	}
	step("link.partial", "\"errnos\":\"%s\",\"errno\":%d,\"lost_bytes\":%lld,\"ok\":%s", errnos,
	     error, lost,
	     !error && first && last && lost < most &&
	     !strcmp(errnos, "12,12,5,14,14,14,0") ? "true" : "false");
}

static int exported(int on, int type)
{
	struct v4l2_exportbuffer e = { .type = type, .flags = O_RDWR | O_CLOEXEC };

	return call(on, VIDIOC_EXPBUF, &e) ? -1 : e.fd;
}

/* As `enum dma_data_direction`. */
enum { BOTH_WAYS, TO_DEVICE };

/*
 * Maps one attachment in a direction, and meanwhile in others. A map both ways serves all; otherwise, the
 * errno must be EBUSY. The stock module ends the first mapping.
 */
static void remap_of(int fd, const char *name, unsigned int first, int wanted)
{
	struct probe_check c = { .fd = fd, .first = first };
	int error = call(probe, PROBE_REMAP, &c);

	step(name, "\"defect\":10,\"errno\":%d,\"second_map\":%lld,\"first_leads_somewhere\":%lld,\"later_map\":%lld,\"ok\":%s",
	     error, (long long)c.result[0], (long long)c.result[1], (long long)c.result[2],
	     !error && c.result[0] == wanted && c.result[1] && !c.result[2] ? "true" : "false");
}

static void remaps_of(int fd)
{
	remap_of(fd, "remap", TO_DEVICE, EBUSY);
	remap_of(fd, "remap-bidirectional", BOTH_WAYS, 0);
}

static void remap(const char *memory)
{
	struct buffer cap;
	int fd;

	set_size(65536);
	if (make(&cap, CAP, memory))
		step("remap.buffer", "\"ok\":false");
	fd = exported(video, CAP);
	remaps_of(fd);
	close(fd);
	unmake(&cap);
}

static void gone(void)
{
	struct probe_check c = { 0 };
	struct buffer cap;
	int error;

	set_size(65536);
	error = make(&cap, CAP, "coherent");
	c.fd = exported(video, CAP);
	error = error ? error : call(probe, PROBE_GONE, &c);
	step("gone", "\"errno\":%d,\"freed_in_use\":%lld,\"freed\":%lld,\"ok\":%s", error,
	     (long long)c.result[0], (long long)c.result[1],
	     !error && !c.result[0] && c.result[1] == 2 ? "true" : "false");
	close(c.fd);
	unmake(&cap);
}

static void race(void)
{
	struct probe_check c = { .rounds = 2000 };
	int error = call(probe, PROBE_RACE, &c);

	step("vaddr-race", "\"defect\":19,\"errno\":%d,\"rounds\":%u,\"two_mappings\":%lld,\"none\":%lld,\"ok\":%s",
	     error, c.rounds, (long long)c.result[0], (long long)c.result[1],
	     !error && !c.result[0] && !c.result[1] ? "true" : "false");
}

static void at_zero(void)
{
	struct probe_check c = { 0 };
	int error = call(probe, PROBE_ZERO, &c);

	step("detach-at-0", "\"defect\":20,\"errno\":%d,\"maps\":%lld,\"unmaps\":%lld,\"ok\":%s", error,
	     (long long)c.result[0], (long long)c.result[1],
	     !error && c.result[0] == c.result[1] ? "true" : "false");
}

/* All calls, or those named. */
static void calls(const char *name)
{
	if (!name || !strcmp(name, "remap"))
		remap("noncoherent");
	if (!name || !strcmp(name, "race"))
		race();
	if (!name || !strcmp(name, "at-zero"))
		at_zero();
	/* The stock module lists no devices, so it need not keep them. */
	if (!name && !strcmp(prefix, "rust"))
		gone();
}

/* Exports a buffer of the other node's queue. Then only the dma-buf and the mapping hold it. */
static int borrow(const char *path, int flags, struct buffer *b)
{
	int own = video, error;
	struct buffer made = { .type = CAP, .memory = V4L2_MEMORY_MMAP };

	video = open(path, O_RDWR);
	set_size(65536);
	error = reqbufs(CAP, V4L2_MEMORY_MMAP, 1, flags);
	error = error ? error : mmap_buffer(&made);
	b->memory = V4L2_MEMORY_DMABUF;
	b->view = made.view;
	b->fd = error ? -1 : exported(video, CAP);
	if (!error && b->fd < 0)
		error = errno;
	close(video);
	video = own;
	return error;
}

/* The device reads and writes memory that was allocated for another one. */
static void other(const char *path, int flags, const char *kind)
{
	struct buffer b = { .fd = -1 };
	char name[64];
	int error;

	set_size(65536);
	error = borrow(path, flags, &b);
	snprintf(name, sizeof(name), "other.%s.export", kind);
	step(name, "\"errno\":%d,\"want\":0", error);
	if (!error) {
		snprintf(name, sizeof(name), "other.%s", kind);
		with_each(name, &b);
		munmap(b.view, bytes);
	}
	close(b.fd);
}

static unsigned long long where(void)
{
	char text[32];

	return strtoull(text_of("/sys/module/vb3edu/parameters/other_at", text, sizeof(text)), NULL, 10);
}

/* Tests a buffer of a board's device, in that device's memory from `start` on; edu reads and writes it. */
static void board(const char *path, const char *region, unsigned long long start, int export)
{
	struct buffer b = { .fd = -1 };
	unsigned long long at;
	char name[64];
	int error;

	set_size(65536);
	error = borrow(path, 0, &b);
	at = where();
	snprintf(name, sizeof(name), "board.%s.export", region);
	step(name, "\"errno\":%d,\"want\":%d,\"at\":\"0x%llx\",\"ok\":%s", error, export, at,
	     error || (at >= start && at - start < 0x1000000) ? "true" : "false");
	if (!error) {
		snprintf(name, sizeof(name), "board.%s", region);
		with_each(name, &b);
		munmap(b.view, bytes);
	}
	close(b.fd);
}

/* Queues the same buffer at the same index each time, so that its mapping stays. The device must see
 * what the CPU wrote last between begin and end of an access. */
static void stale(const char *path, int flags, const char *kind)
{
	struct buffer b = { .type = OUT, .fd = -1 }, cap;
	int on[2] = { OUT, CAP }, error, bad[3] = { -1, -1, -1 };

	set_size(CHUNK);
	error = borrow(path, flags, &b);
	set_size(CHUNK);
	error = error ? error : reqbufs(OUT, V4L2_MEMORY_DMABUF, 1, 0);
	error = error ? error : make(&cap, CAP, "coherent");
	for (int i = 0; i < 2; i++)
		error = error ? error : call(video, VIDIOC_STREAMON, &on[i]);
	for (int round = 0; round < 3 && !error; round++) {
		cpu_access(&b, 1);
		memset(b.view, 11 + 11 * round, bytes);
		cpu_access(&b, 0);
		memset(cap.view, 0xee, bytes);
		error = qbuf(&b);
		error = error ? error : qbuf(&cap);
		error = error ? error : dqbuf(&b);
		error = error ? error : dqbuf(&cap);
		bad[round] = 0;
		for (uint32_t i = 0; i < bytes; i++)
			bad[round] += cap.view[i] != 11 + 11 * round;
	}
	for (int i = 0; i < 2; i++)
		call(video, VIDIOC_STREAMOFF, &on[i]);
	step(kind, "\"defect\":5,\"errno\":%d,\"want\":0,\"first\":%d,\"second\":%d,\"wrong\":%d,\"ok\":%s",
	     error, bad[0], bad[1], error ? -1 : bad[0] + bad[1] + bad[2],
	     error || bad[0] + bad[1] + bad[2] ? "false" : "true");
	reqbufs(OUT, V4L2_MEMORY_DMABUF, 0, 0);
	unmake(&cap);
	munmap(b.view, 65536);
	close(b.fd);
}

/* Lets the device copy one memory to another. Each index keeps its mapping. */
static int copy(unsigned int out, int from, unsigned int cap, int to)
{
	struct buffer a = { .type = OUT, .memory = V4L2_MEMORY_DMABUF, .fd = from, .index = out };
	struct buffer b = { .type = CAP, .memory = V4L2_MEMORY_DMABUF, .fd = to, .index = cap };
	int error = qbuf(&a);

	error = error ? error : qbuf(&b);
	error = error ? error : dqbuf(&a);
	return error ? error : dqbuf(&b);
}

static void fill(struct buffer *b, int value)
{
	cpu_access(b, 1);
	memset(b->view, value, bytes);
	cpu_access(b, 0);
}

static int others(struct buffer *b, int value)
{
	int bad = 0;

	cpu_access(b, 1);
	for (uint32_t i = 0; i < bytes; i++)
		bad += b->view[i] != value;
	cpu_access(b, 0);
	return bad;
}

/*
 * Tests far memory that the device writes by one mapping and reads by another. `relayed`: the device
 * reads what it wrote, without the CPU in between. `kept`: later writes of the CPU are not lost, neither
 * when the CPU reads nor when the mappings end.
 */
static void shared(const char *path, int flags, const char *kind)
{
	struct buffer far = { .fd = -1 }, from, to;
	int on[2] = { OUT, CAP }, error, relayed = -1, read = -1, ended = -1;
	char name[64];

	set_size(CHUNK);
	error = borrow(path, flags, &far);
	set_size(CHUNK);
	from = to = (struct buffer){ .memory = V4L2_MEMORY_DMABUF };
	from.fd = chunked("0");
	to.fd = chunked("0");
	from.view = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, from.fd, 0);
	to.view = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, to.fd, 0);
	for (int i = 0; i < 2; i++) {
		error = error ? error : reqbufs(on[i], V4L2_MEMORY_DMABUF, 2, 0);
		error = error ? error : call(video, VIDIOC_STREAMON, &on[i]);
	}
	if (!error) {
		fill(&from, 44);
		fill(&far, 10);
		error = copy(0, far.fd, 1, to.fd);
		error = error ? error : copy(1, from.fd, 0, far.fd);
		error = error ? error : copy(0, far.fd, 1, to.fd);
		fill(&far, 77);
		read = others(&far, 77);
	}
	for (int i = 0; i < 2; i++) {
		call(video, VIDIOC_STREAMOFF, &on[i]);
		reqbufs(on[i], V4L2_MEMORY_DMABUF, 0, 0);
	}
	if (!error) {
		ended = others(&far, 77);
		/* Only now, since the probe's memory is synced only when it is unmapped. */
		relayed = others(&to, 44);
	}
	snprintf(name, sizeof(name), "%s.relayed", kind);
	step(name, "\"defect\":5,\"errno\":%d,\"wrong\":%d,\"ok\":%s", error, relayed,
	     relayed ? "false" : "true");
	snprintf(name, sizeof(name), "%s.kept", kind);
	step(name, "\"errno\":%d,\"after_read\":%d,\"after_unmap\":%d,\"ok\":%s", error, read, ended,
	     read || ended ? "false" : "true");
	munmap(far.view, 65536);
	munmap(from.view, 4096);
	munmap(to.view, 4096);
	close(far.fd);
	close(from.fd);
	close(to.fd);
}

/* Checks what a mapping of a dma-buf of vmalloc memory shows from the sixth page on. */
static void export_offset(const char *path)
{
	struct buffer b = { .fd = -1 };
	uint8_t *view = MAP_FAILED;
	int error = borrow(path, 0, &b), seen = -1;

	if (!error) {
		for (int page = 0; page < 16; page++)
			b.view[page * 4096] = page;
		view = mmap(NULL, 4096, PROT_READ, MAP_SHARED, b.fd, 5 * 4096);
		if (view == MAP_FAILED)
			error = errno;
		else
			seen = view[0];
	}
	step("export-offset", "\"defect\":11,\"errno\":%d,\"asked_page\":5,\"seen_page\":%d,\"ok\":%s",
	     error, seen, !error && seen == 5 ? "true" : "false");
	if (view != MAP_FAILED)
		munmap(view, 4096);
	munmap(b.view, bytes);
	close(b.fd);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 3 ? argv[3] : "";
	uint32_t flag = V4L2_MEMORY_FLAG_NON_COHERENT;

	prefix = argc > 2 ? argv[2] : "x";
	video = argc > 1 ? open(argv[1], O_RDWR) : -1;
	probe = open("/dev/vb3probe", O_RDWR);
	if (video < 0 || probe < 0) {
		step("open", "\"ok\":false,\"errno\":%d", errno);
		return 1;
	}
	if (!strcmp(mode, "links") && argc > 5) {
		links(atoi(argv[4]), atoi(argv[5]));
	} else if (!strcmp(mode, "untrusted") && argc > 5) {
		untrusted(atoi(argv[4]), atoi(argv[5]));
	} else if (!strcmp(mode, "partial")) {
		partial();
	} else if (!strcmp(mode, "calls")) {
		calls(argc > 4 ? argv[4] : NULL);
	} else if (!strcmp(mode, "remap")) {
		remap("coherent");
	} else if (!strcmp(mode, "pool") && argc > 4) {
		want = 0;
		other(argv[4], 0, "pool");
	} else if (!strcmp(mode, "board") && argc > 8) {
		want = atoi(argv[8]);
		board(argv[4], argv[5], strtoull(argv[6], NULL, 0), atoi(argv[7]));
	} else if (!strcmp(mode, "far") && argc > 4) {
		stale(argv[4], 0, "far.coherent");
		stale(argv[4], flag, "far.noncoherent");
		shared(argv[4], 0, "far.coherent");
		shared(argv[4], flag, "far.noncoherent");
	} else if (!strcmp(mode, "export-offset") && argc > 4) {
		export_offset(argv[4]);
	} else {
		return 2;
	}
	return 0;
}
