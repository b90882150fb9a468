// SPDX-License-Identifier: GPL-2.0-only
/* Refusals in sentences, for people: what was refused, why, and what would work. */
#include <linux/err.h>
#include <linux/kernel.h>

#include "why.h"

#define OF_DEVICE "a buffer that this device allocates"
#define FEWER "smaller or fewer buffers, or more contiguous memory that this device reaches (cma=)"

/* The remedy for each constraint. If it differs for a kind of operation, that kind's row comes first. */
static const struct {
	const char *constraint, *remedy;
	enum kind kind;
} remedies[] = {
	{ "dma-mask", "memory up to the address found, such as " OF_DEVICE },
	{ "contiguous", FEWER, ALLOC },
	{ "contiguous", "memory in one piece, such as " OF_DEVICE " or one of a contiguous heap" },
	{ "cma-size", FEWER },
	{ "buffer-size", "a length above 0", USERPTR },
	{ "buffer-size", "a buffer of the size needed: sizeimage of G_FMT" },
	{ "ram", "smaller or fewer buffers" },
	{ "alignment", "address and length that are multiples of the wanted value" },
	{ "user-pages", "memory that the program has mapped, and may write to if the device does" },
	{ "iova-space", "smaller or fewer buffers mapped at one time" },
	{ "owner", "close the other file, or let its program call REQBUFS with count 0" },
	{ "streaming", "STREAMOFF before REQBUFS" },
	{ "read-write", "close the file that reads or writes" },
	{ "dqbuf-waits", "let the thread return from DQBUF first" },
	{ "memory-type", "a kind of memory that the capabilities of REQBUFS list" },
	{ "memory-mixed", "one kind of memory in all calls, or REQBUFS with count 0 first" },
	{ "buffer-type", "the type of this queue" },
	{ "buffer-index", "an index below the number of buffers" },
	{ "buffer-state", "DQBUF of this buffer first" },
	{ "plane-count", "an array of planes with an entry for each" },
	{ "bytes-used", "bytesused up to the length" },
	{ "dmabuf-fd", "a file descriptor of EXPBUF, a heap or another exporter, still open" },
	{ "buffer-count", "fewer buffers, or REMOVE_BUFS" },
	{ "requests", "a request (V4L2_BUF_FLAG_REQUEST_FD) for all buffers of such a driver, and for none of another" },
	{ "requests-mixed", "one way until REQBUFS with count 0" },
	{ "no-buffers", "REQBUFS or CREATE_BUFS, and as many QBUFs, before STREAMON" },
	{ "create-size", "sizeimage of G_FMT, or more" },
	{ "queue-error", "STREAMOFF; the driver's messages in the log say what failed" },
	{ "driver-errno", "see the driver's messages in the log, and its queue_setup or buf_prepare" },
};

static const char *remedy_of(const struct record *r)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(remedies); i++)
		if (!strcmp(remedies[i].constraint, r->constraint) &&
		    (r->kind == remedies[i].kind || i + 1 == ARRAY_SIZE(remedies) ||
		     strcmp(remedies[i + 1].constraint, r->constraint)))
			return remedies[i].remedy;
	return OF_DEVICE;
}

static const char *memory_of(u64 memory)
{
	return memory == 1 ? "MMAP" : memory == 2 ? "USERPTR" : memory == 4 ? "DMABUF" : "unknown memory";
}

/* Prints why, as a sentence. */
static void print_reason(struct seq_file *file, const struct record *r)
{
	static const char *const states[] = {
		"not queued", "part of a request", "being prepared", "queued", "used by the driver",
		"done and not dequeued", "failed and not dequeued",
	};
	const char *c = r->constraint;
	u64 w = r->wanted, f = r->found;

	if (!strcmp(c, "dma-mask"))
		seq_printf(file, "The memory ends at %#llx; the device reaches addresses up to %#llx.", w, f);
	else if (!strcmp(c, "contiguous") && r->kind == ALLOC)
		seq_printf(file, "No piece of %llu bytes is free, although pieces of up to %llu are possible.", w, f);
	else if (!strcmp(c, "contiguous"))
		seq_printf(file, "The device needs %llu bytes in one piece; the first piece has %llu.", w, f);
	else if (!strcmp(c, "cma-size"))
		seq_printf(file, "The device needs %llu bytes in one piece; at most %llu were possible.", w, f);
	else if (!strcmp(c, "buffer-size") && r->kind == USERPTR)
		seq_puts(file, "The length is 0.");
	else if (!strcmp(c, "buffer-size"))
		seq_printf(file, "%llu bytes are needed; there are %llu.", w, f);
	else if (!strcmp(c, "ram"))
		seq_printf(file, "%llu bytes are needed; %llu were available.", w, f);
	else if (!strcmp(c, "alignment"))
		seq_printf(file, "Address and length must be multiples of %llu, not of %llu.", w, f);
	else if (!strcmp(c, "user-pages"))
		seq_printf(file, "Not all of the %llu pages belong to the program, with the necessary access.", w);
	else if (!strcmp(c, "bounce-pool") && w > f)
		seq_printf(file, "A segment has %llu bytes; a bounce has at most %llu.", w, f);
	else if (!strcmp(c, "bounce-pool"))
		seq_printf(file, "The bounce pool had no room for segments of up to %llu bytes.", w);
	else if (!strcmp(c, "iova-space"))
		seq_printf(file, "The IOMMU had no room for %llu bytes.", w);
	else if (!strcmp(c, "cpu-mapping"))
		seq_puts(file, "The exporter gave the CPU no mapping of the memory.");
	else if (!strcmp(c, "exporter-errno"))
		seq_printf(file, "The exporter answered with %pe.", ERR_PTR(-(long)f));
	else if (!strcmp(c, "owner") && r->holder[0])
		seq_printf(file, "Another open file has the queue; its buffers are of %s[%d].", r->holder,
			   r->holder_pid);
	else if (!strcmp(c, "owner"))
		seq_puts(file, "Another open file has the queue.");
	else if (!strcmp(c, "streaming"))
		seq_puts(file, "The queue is streaming.");
	else if (!strcmp(c, "read-write"))
		seq_puts(file, "A program uses the queue by read() or write().");
	else if (!strcmp(c, "dqbuf-waits"))
		seq_puts(file, "Another thread waits in DQBUF.");
	else if (!strcmp(c, "memory-type"))
		seq_printf(file, "The driver does not offer %s.", memory_of(f));
	else if (!strcmp(c, "memory-mixed"))
		seq_printf(file, "The queue uses %s, the call %s.", memory_of(w), memory_of(f));
	else if (!strcmp(c, "buffer-type"))
		seq_printf(file, "The queue has buffers of type %llu, not %llu.", w, f);
	else if (!strcmp(c, "buffer-index"))
		seq_printf(file, "There are %llu buffers; the call names number %llu.", w, f);
	else if (!strcmp(c, "buffer-state"))
		seq_printf(file, "The buffer is %s.", f < ARRAY_SIZE(states) ? states[f] : "not free");
	else if (!strcmp(c, "plane-count"))
		seq_printf(file, "The format has %llu planes; the call describes %llu.", w, f);
	else if (!strcmp(c, "bytes-used"))
		seq_printf(file, "bytesused is %llu; the buffer has %llu bytes.", f, w);
	else if (!strcmp(c, "dmabuf-fd"))
		seq_printf(file, "The file descriptor is not an open dma-buf (%pe).", ERR_PTR(-(long)f));
	else if (!strcmp(c, "buffer-count"))
		seq_printf(file, "The queue has %llu buffers, and room for %llu.", f, w);
	else if (!strcmp(c, "requests"))
		seq_puts(file, w ? "The driver accepts buffers only with a request." :
			       "The driver accepts no requests.");
	else if (!strcmp(c, "requests-mixed"))
		seq_puts(file, w ? "The queue's buffers come with requests; this one does not." :
			       "The queue's buffers come without requests; this one has one.");
	else if (!strcmp(c, "no-buffers"))
		seq_printf(file, "The driver needs %llu buffers to start; there are %llu.", w, f);
	else if (!strcmp(c, "create-size"))
		seq_printf(file, "The driver does not accept buffers of %llu bytes.", f);
	else if (!strcmp(c, "queue-error"))
		seq_puts(file, "The driver has stopped the queue after an error.");
	else if (!strcmp(c, "driver-errno"))
		seq_printf(file, "The driver itself answered with %pe; no memory was refused.", ERR_PTR(-(long)f));
	else
		seq_printf(file, "Wanted %llu, found %llu.", w, f);
}

void tell(struct seq_file *file, const struct record *r, u64 seconds)
{
	const char *what = is_call(r->kind) ? kinds[r->kind] :
			   r->kind == ALLOC || r->kind == HEAP_SYSTEM || r->kind == HEAP_CMA ? "an allocation" :
			   r->kind == USERPTR ? "user memory" : "a dma-buf";

	seq_printf(file, "%s refused %s of %s[%d], %llu s ago (%s).\n  ", r->device, what, r->comm, r->pid,
		   seconds, r->constraint);
	print_reason(file, r);
	seq_puts(file, " Details: ");
	if (r->segments)
		seq_printf(file, "%u segments, longest %llu, ", r->segments, r->longest);
	seq_printf(file, "%pe.\n  Instead: %s.\n", ERR_PTR(-(long)r->error), remedy_of(r));
}
