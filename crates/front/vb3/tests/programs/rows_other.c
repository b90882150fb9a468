// Tests the rows of the errno table that need another driver's dma-buf, and prints `NAME value` lines:
// rows_other cap|out NODE EXPORTER [userptr]. If this kernel lacks a driver, it skips the row and says so
// on stderr.
#include "rows.h"
#include "other.h"

static void import(const char *id, const char *kind)
{
	int other = other_buffer(kind, size), fd = device();
	if (other < 0) {
		fprintf(stderr, "%s: no %s here: %s\n", id, kind, strerror(errno));
		close(fd);
		return;
	}
	if (request(fd, type, V4L2_MEMORY_DMABUF, 4) < 0)
		die("REQBUFS for DMABUF");
	say(id, queue_dmabuf(fd, 0, other, 0, 0));
	// Repeatedly: a failure must leave nothing behind.
	for (unsigned i = 0; i < 20; i++)
		queue_dmabuf(fd, i % 4, other, size, 0);
	close(other);
	close(fd);
}

static void point_into(const char *id, const char *kind)
{
	int other = other_buffer(kind, size), fd = device();
	if (other < 0) {
		fprintf(stderr, "%s: no %s here: %s\n", id, kind, strerror(errno));
		close(fd);
		return;
	}
	void *at = map(other, whole_pages(size), PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	if (at == MAP_FAILED || request(fd, type, V4L2_MEMORY_USERPTR, 4) < 0)
		die("mmap or REQBUFS for USERPTR");
	say(id, queue_user(fd, 0, at, size));
	munmap(at, whole_pages(size));
	close(other);
	close(fd);
}

int main(int argc, char **argv)
{
	set_up(argc, argv, 0);
	import("import.of-a-heap", "heap");
	import("import.of-udmabuf", "udmabuf");
	if (argc > 4 && !strcmp(argv[4], "userptr")) {
		point_into("userptr.qbuf.of-a-heap", "heap");
		point_into("userptr.qbuf.of-udmabuf", "udmabuf");
	}
	return 0;
}
