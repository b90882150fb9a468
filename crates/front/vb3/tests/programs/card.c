/* A program on a display card, by its ioctls.
 *
 * card flips N: sets the preferred mode, and flips N times between two buffers that it paints.
 * card stills N: the same, but does not paint.
 * card kills N: kills children in mid-flip, N times; then the card must still show pictures.
 * card random N SEED: N random calls.
 * card lease: a file of a lease without objects looks like the card's node.
 * card plugs: receives the events of a monitor that is unplugged and plugged in.
 * card imports N: flips N times between two dma-bufs of a heap, and prints the CPU time of a flip.
 * card calls N: prints how long calls take with N framebuffers.
 * card drops: a child that has given up root may not become the master by its parent's file.
 * card draws N: draws N pictures into the buffer on the screen, without a commit; waits for their checksums in debugfs.
 * card loses: has the buffer on the screen revoked, and waits for the checksums of ten more frames.
 * card writeback: has pictures written to its own buffer and to one of a heap, and compares each pixel. */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* From include/uapi/drm, for systems without libdrm's headers. */
struct dumb { uint32_t height, width, bpp, flags, handle, pitch; uint64_t size; };
struct map { uint32_t handle, pad; uint64_t offset; };
struct fb { uint32_t id, width, height, pitch, bpp, depth, handle; };
struct mode {
	uint32_t clock;
	uint16_t h[5], v[5];
	uint32_t refresh, flags, type;
	char name[32];
};
struct crtc {
	uint64_t connectors;
	uint32_t count, id, fb, x, y, gamma, valid;
	struct mode mode;
};
struct connector {
	uint64_t encoders, modes, props, values;
	uint32_t count_modes, count_props, count_encoders, encoder, id, type, number, status, w, h, sub, pad;
};
struct resources { uint64_t fbs, crtcs, connectors, encoders; uint32_t count[4], size[4]; };
struct flip { uint32_t crtc, fb, flags, reserved; uint64_t data; };
#define NUMBER(nr, type) _IOC(_IOC_READ | _IOC_WRITE, 'd', nr, sizeof(type))
#define RESOURCES NUMBER(0xa0, struct resources)
#define SETCRTC NUMBER(0xa2, struct crtc)
#define CONNECTOR NUMBER(0xa7, struct connector)
#define ADDFB NUMBER(0xae, struct fb)
#define FLIP NUMBER(0xb0, struct flip)
#define CREATE NUMBER(0xb2, struct dumb)
#define MAP NUMBER(0xb3, struct map)

struct screen {
	int fd, heaps[2];
	uint32_t crtc, connector, fbs[2], *pixels[2];
	size_t count;
	struct mode mode;
};

static void probe(struct screen *screen, struct connector *found)
{
	static struct mode modes[64];
	uint32_t crtcs[8], connectors[8];
	struct resources all = { .crtcs = (uintptr_t)crtcs, .connectors = (uintptr_t)connectors };

	all.count[1] = all.count[2] = 8;
	CHECK(ioctl(screen->fd, RESOURCES, &all) == 0);
	screen->crtc = crtcs[0];
	screen->connector = connectors[0];
	memset(found, 0, sizeof(*found));
	found->id = connectors[0];
	CHECK(ioctl(screen->fd, CONNECTOR, found) == 0);
	found->count_props = found->count_encoders = 0;
	found->modes = (uintptr_t)modes;
	CHECK(found->count_modes <= 64);
	CHECK(ioctl(screen->fd, CONNECTOR, found) == 0);
	screen->mode = modes[0];
}

static void light(struct screen *screen, int at)
{
	struct crtc crtc = {
		.connectors = (uintptr_t)&screen->connector, .count = 1, .id = screen->crtc,
		.fb = screen->fbs[at], .valid = 1, .mode = screen->mode,
	};
	CHECK(ioctl(screen->fd, SETCRTC, &crtc) == 0);
}

static struct screen begin(void)
{
	struct screen screen = { .fd = open("/dev/dri/card0", O_RDWR | O_CLOEXEC) };
	struct connector connector;
	uint32_t width, height;
	int at;

	CHECK(screen.fd >= 0);
	probe(&screen, &connector);
	CHECK(connector.count_modes > 0);
	width = screen.mode.h[0];
	height = screen.mode.v[0];
	for (at = 0; at < 2; at++) {
		struct dumb dumb = { .width = width, .height = height, .bpp = 32 };
		struct map map = { 0 };
		struct fb fb = { .width = width, .height = height, .bpp = 32, .depth = 24 };

		CHECK(ioctl(screen.fd, CREATE, &dumb) == 0);
		map.handle = fb.handle = dumb.handle;
		fb.pitch = dumb.pitch;
		CHECK(ioctl(screen.fd, MAP, &map) == 0);
		screen.pixels[at] = mmap(NULL, dumb.size, PROT_READ | PROT_WRITE, MAP_SHARED, screen.fd, map.offset);
		CHECK(screen.pixels[at] != MAP_FAILED);
		screen.count = dumb.size / 4;
		CHECK(ioctl(screen.fd, ADDFB, &fb) == 0);
		screen.fbs[at] = fb.id;
	}
	light(&screen, 0);
	return screen;
}

static int paints = 1;

/* Paints a buffer in one colour, shows it, and waits for the event. */
static void flip(struct screen *screen, int number)
{
	int at = (number + 1) % 2;
	struct flip flip = { .crtc = screen->crtc, .fb = screen->fbs[at], .flags = 1, .data = number };
	struct pollfd ready = { .fd = screen->fd, .events = POLLIN };
	char event[1024];
	size_t pixel;

	for (pixel = 0; paints && pixel < screen->count; pixel++)
		screen->pixels[at][pixel] = number * 0x010305;
	CHECK(ioctl(screen->fd, FLIP, &flip) == 0);
	CHECK(poll(&ready, 1, 10000) == 1);
	CHECK(read(screen->fd, event, sizeof(event)) == 32);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void flips(int count)
{
	struct screen screen = begin();
	double start = seconds();
	int number;

	for (number = 0; number < count; number++)
		flip(&screen, number);
	fprintf(stderr, "%.0f us a flip\n", (seconds() - start) * 1e6 / count);
	printf("%d flips\n", count);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	CHECK(clock_gettime(clock, &now) == 0);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

/* Shows dma-bufs of a heap instead of the screen's own buffers. */
static void import(struct screen *screen, size_t bytes)
{
	int heap = open("/dev/dma_heap/default_cma_region", O_RDWR | O_CLOEXEC), at;

	CHECK(heap >= 0);
	for (at = 0; at < 2; at++) {
		struct { uint64_t len; uint32_t fd, flags; uint64_t more; } memory = { .len = bytes, .flags = O_RDWR };
		struct { uint32_t handle, flags; int32_t fd; } prime = { 0 };
		struct fb fb = { .width = screen->mode.h[0], .height = screen->mode.v[0], .bpp = 32, .depth = 24 };

		CHECK(ioctl(heap, _IOC(_IOC_READ | _IOC_WRITE, 'H', 0, sizeof(memory)), &memory) == 0);
		prime.fd = memory.fd;
		CHECK(ioctl(screen->fd, NUMBER(0x2e, prime), &prime) == 0);
		fb.handle = prime.handle;
		fb.pitch = fb.width * 4;
		CHECK(ioctl(screen->fd, ADDFB, &fb) == 0);
		screen->fbs[at] = fb.id;
		screen->heaps[at] = memory.fd;
	}
}

static void imports(int count)
{
	struct screen screen = begin();
	uint64_t own, theirs;
	clockid_t parent;
	int number;

	import(&screen, screen.count * 4);
	paints = 0;
	CHECK(clock_getcpuclockid(getppid(), &parent) == 0);
	flip(&screen, 0);
	own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	theirs = clock_ns(parent);
	for (number = 1; number <= count; number++)
		flip(&screen, number);
	printf("client_cpu_ns %llu\n", (unsigned long long)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own) / count);
	printf("supervisor_cpu_ns %llu\n", (unsigned long long)(clock_ns(parent) - theirs) / count);
}

/* Returns the shortest average time of a call, in several batches: other work on the machine disturbs some. */
static uint64_t shortest_ns(struct screen *screen, struct fb *fb)
{
	enum { BATCHES = 20, ROUNDS = 250 };
	uint64_t shortest = UINT64_MAX;
	int batch, round;

	for (batch = 0; batch < BATCHES; batch++) {
		uint64_t start = clock_ns(CLOCK_MONOTONIC), took;

		for (round = 0; round < ROUNDS; round++) {
			struct crtc crtc = { .id = screen->crtc };

			if (fb) {
				CHECK(ioctl(screen->fd, ADDFB, fb) == 0);
				CHECK(ioctl(screen->fd, NUMBER(0xaf, fb->id), &fb->id) == 0);
			} else {
				CHECK(ioctl(screen->fd, NUMBER(0xa1, crtc), &crtc) == 0);
			}
		}
		took = (clock_ns(CLOCK_MONOTONIC) - start) / ROUNDS;
		shortest = took < shortest ? took : shortest;
	}
	return shortest;
}

static void calls(int count)
{
	struct screen screen = begin();
	struct dumb dumb = { .width = 64, .height = 64, .bpp = 32 };
	struct fb fb = { .width = 64, .height = 64, .bpp = 32, .depth = 24 };
	int made;

	CHECK(ioctl(screen.fd, CREATE, &dumb) == 0);
	fb.handle = dumb.handle;
	fb.pitch = dumb.pitch;
	for (made = 2; made < count; made++)
		CHECK(ioctl(screen.fd, ADDFB, &fb) == 0);
	printf("getcrtc_ns %llu\n", (unsigned long long)shortest_ns(&screen, NULL));
	printf("addfb_rmfb_ns %llu\n", (unsigned long long)shortest_ns(&screen, &fb));
}

static void kills(int count)
{
	int round;

	for (round = 0; round < count; round++) {
		pid_t child;
		int ready[2], number;
		char byte;

		CHECK(pipe(ready) == 0);
		child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			struct screen screen = begin();

			CHECK(write(ready[1], "", 1) == 1);
			for (number = 0;; number++)
				flip(&screen, number);
		}
		close(ready[1]);
		CHECK(read(ready[0], &byte, 1) == 1);
		close(ready[0]);
		/* Somewhere in a frame: it lasts 17 ms. */
		usleep(round * 997 % 20000);
		kill(child, SIGKILL);
		CHECK(waitpid(child, NULL, 0) == child);
	}
	flips(3);
}

static uint32_t state;

static uint32_t below(uint32_t limit)
{
	state = state * 1664525 + 1013904223;
	return (state >> 8) % limit;
}

static void randoms(int count, int seed)
{
	static const uint8_t sizes[] = { 0, 4, 8, 16, 24, 32, 40, 64, 80, 104 };
	static uint64_t arg[64], more[512];
	struct screen screen = begin();
	int call, word, files[4], failed = 0;
	/* Not descriptors, whose answers would fill the table, and no long waits. */
	static const uint8_t except[] = { 0x2d, 0x3a, 0xc6 };

	state = seed;
	for (word = 0; word < 4; word++)
		files[word] = open("/dev/dri/card0", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	for (call = 0; call < count; call++) {
		uint32_t number = below(3) ? 0xa0 + below(0x31) : below(0x100);
		uint32_t size = sizes[below(sizeof(sizes))];
		int fd = below(3) ? screen.fd : files[below(4)];

		if (memchr(except, number, sizeof(except)))
			continue;
		for (word = 0; word < 64; word++) {
			uint32_t value = below(2) ? below(80) : below(4096);

			if (below(4) == 0)
				value = 1u << below(32);
			arg[word] = below(3) ? value : (uintptr_t)more;
			if (below(8) == 0)
				arg[word] = below(256) | (uint64_t)below(256) << 32;
			more[below(512)] = value;
		}
		failed += ioctl(fd, _IOC(1 + below(3), 'd', number, size), arg) != 0;
	}
	close(screen.fd);
	for (word = 0; word < 4; word++)
		close(files[word]);
	fprintf(stderr, "%d of %d calls failed\n", failed, count);
	flips(3);
}

/* Waits for the kernel's message about the card, and checks the connector. */
static void expect(int socket, struct screen *screen, int modes)
{
	char message[4096];
	struct connector connector;
	ssize_t len = recv(socket, message, sizeof(message) - 1, 0);

	CHECK(len > 0);
	CHECK(strncmp(message, "change@", 7) == 0 && strstr(message, "/drm/card0"));
	CHECK(memmem(message, len, "\0HOTPLUG=1", 11));
	CHECK(memmem(message, len, "\0DEVTYPE=drm_minor", 19));
	probe(screen, &connector);
	printf("%s, %u modes\n", connector.status == 1 ? "connected" : "disconnected", connector.count_modes);
	CHECK((connector.count_modes > 0) == (modes > 0));
	fflush(stdout);
}

static void lease(void)
{
	struct { uint64_t ids; uint32_t count, flags, lessee; int32_t fd; } lease = { .flags = O_CLOEXEC };
	int card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	struct stat own, leased;

	CHECK(card >= 0 && ioctl(card, NUMBER(0xc6, lease), &lease) == 0);
	CHECK(fstat(card, &own) == 0 && fstat(lease.fd, &leased) == 0);
	CHECK(S_ISCHR(leased.st_mode) && leased.st_rdev == own.st_rdev);
	printf("leased\n");
}

static void drops(void)
{
	int card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC), other = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	pid_t child;
	int status;

	CHECK(card >= 0 && other >= 0 && ioctl(card, _IO('d', 0x1f)) == 0);
	CHECK(ioctl(other, _IO('d', 0x1e)) == 0 && ioctl(other, _IO('d', 0x1f)) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		CHECK(setuid(65534) == 0);
		CHECK(ioctl(card, _IO('d', 0x1e)) == -1 && errno == EACCES);
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	printf("dropped\n");
}

static void plugs(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	struct screen screen = begin();

	CHECK(events >= 0 && bind(events, (struct sockaddr *)&kernel, sizeof(kernel)) == 0);
	CHECK(creat("ready", 0600) >= 0);
	expect(events, &screen, 0);
	expect(events, &screen, 1);
	flip(&screen, 1);
}

/* Returns the id of an object's property. */
static uint32_t property(int fd, uint32_t object, const char *name)
{
	uint32_t ids[32], at;
	uint64_t values[32];
	struct { uint64_t ids, values; uint32_t count, object, type; } all = {
		.ids = (uintptr_t)ids, .values = (uintptr_t)values, .count = 32, .object = object,
	};

	CHECK(ioctl(fd, NUMBER(0xb9, all), &all) == 0);
	for (at = 0; at < all.count; at++) {
		struct { uint64_t values, enums; uint32_t id, flags; char name[32]; uint32_t counts[2]; } found = {
			.id = ids[at],
		};

		CHECK(ioctl(fd, NUMBER(0xaa, found), &found) == 0);
		if (strcmp(found.name, name) == 0)
			return found.id;
	}
	fprintf(stderr, "object %u has no property %s\n", object, name);
	exit(1);
}

/* Has the next picture written to a framebuffer, and waits for its fence. */
static void write_to(struct screen *screen, uint32_t connector, uint32_t fb)
{
	int32_t fence = -1;
	uint32_t count = 3, props[3] = {
		property(screen->fd, connector, "CRTC_ID"), property(screen->fd, connector, "WRITEBACK_FB_ID"),
		property(screen->fd, connector, "WRITEBACK_OUT_FENCE_PTR"),
	};
	uint64_t values[3] = { screen->crtc, fb, (uintptr_t)&fence };
	struct { uint32_t flags, count; uint64_t objects, counts, props, values, reserved, data; } atomic = {
		.flags = 0x400, .count = 1, .objects = (uintptr_t)&connector, .counts = (uintptr_t)&count,
		.props = (uintptr_t)props, .values = (uintptr_t)values,
	};
	struct pollfd ready = { .events = POLLIN };

	CHECK(ioctl(screen->fd, NUMBER(0xbc, atomic), &atomic) == 0);
	CHECK(fence >= 0);
	ready.fd = fence;
	CHECK(poll(&ready, 1, 10000) == 1);
	close(fence);
}

/* Begins or ends the access of the CPU to a heap's memory: DMA_BUF_IOCTL_SYNC. */
static void sync_heap(int fd, uint64_t flags)
{
	CHECK(fd < 0 || ioctl(fd, _IOC(_IOC_WRITE, 'b', 0, sizeof(flags)), &flags) == 0);
}

static void written(struct screen *screen, uint32_t connector, uint32_t seed)
{
	size_t pixel;

	sync_heap(screen->heaps[0], 2);
	for (pixel = 0; pixel < screen->count; pixel++)
		screen->pixels[0][pixel] = (pixel * 0x010305 + seed) & 0xffffff;
	sync_heap(screen->heaps[0], 4 | 2);
	light(screen, 0);
	write_to(screen, connector, screen->fbs[1]);
	sync_heap(screen->heaps[1], 1);
	for (pixel = 0; pixel < screen->count; pixel++)
		CHECK(screen->pixels[1][pixel] == (screen->pixels[0][pixel] | 0xff000000));
	sync_heap(screen->heaps[1], 4 | 1);
}

static void writeback(void)
{
	struct screen screen = begin();
	struct { uint64_t cap, value; } caps[2] = { { 3, 1 }, { 5, 1 } };
	uint32_t connectors[8];
	struct resources all = { .connectors = (uintptr_t)connectors, .count = { 0, 0, 8, 0 } };
	int at;

	for (at = 0; at < 2; at++) {
		screen.heaps[at] = -1;
		CHECK(ioctl(screen.fd, _IOC(_IOC_WRITE, 'd', 0x0d, sizeof(caps[at])), &caps[at]) == 0);
	}
	CHECK(ioctl(screen.fd, RESOURCES, &all) == 0 && all.count[2] == 2);
	written(&screen, connectors[1], 1);
	import(&screen, screen.count * 4);
	for (at = 0; at < 2; at++) {
		screen.pixels[at] = mmap(NULL, screen.count * 4, PROT_READ | PROT_WRITE, MAP_SHARED, screen.heaps[at], 0);
		CHECK(screen.pixels[at] != MAP_FAILED);
	}
	written(&screen, connectors[1], 2);
	printf("written\n");
}

/* Returns the checksum of the next frame, from a line such as `0x00000012 0x9abcdef0`. */
static unsigned checksum(int fd)
{
	char line[64];
	unsigned frame, value;

	CHECK(read(fd, line, sizeof(line)) == 23 && line[22] == 0);
	CHECK(sscanf(line, "0x%8x 0x%8x\n", &frame, &value) == 2);
	return value;
}

static void paint(struct screen *screen, uint32_t color)
{
	size_t pixel;

	for (pixel = 0; pixel < screen->count; pixel++)
		screen->pixels[0][pixel] = color;
}

static const char data[] = "/sys/kernel/debug/dri/0/crtc-0/crc/data";

static void draws(int count)
{
	int control = open("/sys/kernel/debug/dri/0/crtc-0/crc/control", O_RDWR | O_CLOEXEC), crcs, number;
	struct screen screen;
	unsigned last;
	char text[16];

	CHECK(control >= 0 && read(control, text, sizeof(text)) == 6 && memcmp(text, "auto*\n", 6) == 0);
	CHECK(read(control, text, sizeof(text)) == 0);
	CHECK(open(data, O_RDONLY) == -1 && errno == EIO);
	CHECK(write(control, "foo", 3) == -1 && errno == EINVAL);
	CHECK(write(control, "auto\n", 5) == 5);
	screen = begin();
	crcs = open(data, O_RDONLY | O_CLOEXEC);
	CHECK(crcs >= 0 && read(crcs, text, sizeof(text)) == -1 && errno == EINVAL);
	CHECK(open(data, O_RDONLY) == -1 && errno == EBUSY);
	CHECK(write(control, "auto", 4) == -1 && errno == EBUSY);
	for (number = 1; number < count; number++) {
		last = checksum(crcs);
		paint(&screen, number * 0x010305);
		/* Two frames with the same new checksum show the whole picture. */
		while (checksum(crcs) == last)
			;
		do
			last = checksum(crcs);
		while (checksum(crcs) != last);
	}
	close(crcs);
	paint(&screen, number * 0x010305);
	printf("%d pictures\n", count);
}

static void loses(void)
{
	struct screen screen = begin();
	int crcs = open(data, O_RDONLY | O_CLOEXEC), frame;
	unsigned last;

	(void)screen;
	CHECK(crcs >= 0);
	last = checksum(crcs);
	CHECK(system("\"$VB3\" ctl revoke \"$(\"$VB3\" ctl buffers | sed -n '1s, .*,,p')\"") == 0);
	for (frame = 0; frame < 10; frame++)
		CHECK(checksum(crcs) == last);
	printf("lost\n");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int count = argc > 2 ? atoi(argv[2]) : 1;

	paints = strcmp(what, "stills") != 0;
	if (strcmp(what, "flips") == 0 || !paints)
		flips(count);
	else if (strcmp(what, "kills") == 0)
		kills(count);
	else if (strcmp(what, "random") == 0)
		randoms(count, argc > 3 ? atoi(argv[3]) : 1);
	else if (strcmp(what, "plugs") == 0)
		plugs();
	else if (strcmp(what, "imports") == 0)
		imports(count);
	else if (strcmp(what, "lease") == 0)
		lease();
	else if (strcmp(what, "drops") == 0)
		drops();
	else if (strcmp(what, "draws") == 0)
		draws(count);
	else if (strcmp(what, "loses") == 0)
		loses();
	else if (strcmp(what, "writeback") == 0)
		writeback();
	else if (strcmp(what, "calls") == 0)
		calls(count);
	else
		return 2;
	return 0;
}
