/* SPDX-License-Identifier: GPL-2.0-only */
/* Declarations for all files of vb2-why. */
#ifndef VB2_WHY_H
#define VB2_WHY_H

#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/types.h>

struct dma_buf;
struct device;
struct file;
struct sg_table;
struct vb2_queue;

/* Kinds of probed functions. Those up to LAST_OP are operations, which can be refused. */
enum kind {
	/* Of an allocator. */
	ALLOC, USERPTR, ATTACH, MAP,
	/* A DRM driver's import, and a heap's allocation. */
	PRIME, HEAP_SYSTEM, HEAP_CMA,
	/* Calls of programs, which videobuf2's core may refuse before it calls an allocator. */
	REQBUFS, CREATE_BUFS, PREPARE_BUF, QBUF, EXPBUF, STREAMON,
	LAST_OP = STREAMON,
	/* What happens inside operations, and to buffers. */
	VERIFY, CORE, GET, DMA_MAP, DMABUF_MAP, DMABUF_ATTACH,
	EXPORT, RELEASE, PUT, END, DMABUF_DETACH, VM_OPEN, DONE,
};

extern const char *const kinds[];

static inline bool is_call(enum kind kind)
{
	return kind >= REQBUFS && kind <= STREAMON;
}

/* A call in progress, a refusal, a buffer, or a device's attachment to an exported buffer. */
struct record {
	enum kind kind;
	pid_t pid;
	char comm[TASK_COMM_LEN], device[32], exporter[24];
	u64 size, inode;
	/* If this is a buffer: never dereferenced. */
	int references;
	const void *queue_key;
	/* If this is a call inside an operation. */
	void *arg[2];
	struct record *op;
	/* If this is an operation: its arguments, and the last device, perhaps that of a call inside. */
	struct hlist_node node;
	struct task_struct *task;
	bool is_contig;
	unsigned long vaddr;
	struct dma_buf *dmabuf;
	struct device *dev;
	/* A program's call: its file (NULL if the driver has its own function), queue and argument. */
	struct file *file;
	struct vb2_queue *queue;
	void *call;
	/* Whether the core began the call, and whether a refusal inside the call is recorded already. */
	bool is_begun, is_told;
	/* Calls inside: errors, and the last scatter table. */
	int dma_error, dmabuf_error, attach_error, get_error;
	unsigned int segments;
	u64 contiguous, longest, last_address;
	/* If this is a refusal. */
	const char *constraint;
	int error;
	u64 wanted, found, at_ns;
	/* The program that holds what was refused. */
	char holder[TASK_COMM_LEN];
	pid_t holder_pid;
};

/* In explain.c: reads a scatter table after its mapping; finds the constraint that an operation violates. */
void look(struct record *op, struct sg_table *sgt, int error);
void explain(struct record *op);

/* In text.c: a refusal in sentences. */
void tell(struct seq_file *file, const struct record *r, u64 seconds);

#endif
