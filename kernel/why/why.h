/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VB2_WHY_H
#define VB2_WHY_H

#include <linux/list.h>
#include <linux/sched.h>
#include <linux/types.h>

struct dma_buf;
struct module;
struct seq_file;
struct sg_table;
struct vb2_buffer;

/* The probed functions. Operations (up to MMAP) can fail with a refusal. */
enum kind {
	ALLOC, USERPTR, ATTACH, MAP, EXPORT, MMAP,
	PUT, PUT_USERPTR, DETACH, DMA_MAP, DMABUF_MAP, DMABUF_ATTACH, DMABUF_DETACH, VM_OPEN, DONE,
};

enum allocator { CONTIG, SG, VMALLOC, NO_ALLOCATOR };

/* An operation in progress: its arguments, and the results of its calls. */
struct op {
	struct hlist_node node;
	struct task_struct *task;
	enum kind kind;
	enum allocator allocator;
	/* The buffer, if known before the operation returns; also set for EXPORT and MMAP. */
	void *priv;
	struct device *dev;
	struct dma_buf *dmabuf;
	unsigned long vaddr;
	u64 size;
	/* Errors of the last dma_map_sgtable() and dma_buf_map_attachment(). */
	int dma_error, dmabuf_error;
	/* Whether one of them mapped the scatter table that follows. */
	bool is_mapped;
	u64 contiguous, longest, last_address;
	unsigned int segments;
};

struct refusal {
	u64 at_ns;
	pid_t pid;
	int error;
	char comm[TASK_COMM_LEN];
	char device[32];
	char note[80];
	/* Constant strings. */
	const char *what, *constraint, *remedy;
	u64 wanted, found;
};

/* Functions of reason.c. Interrupt context may call these and all below. */
void why_look(struct op *op, struct sg_table *sgt, int error);
void why_explain(const struct op *op, struct refusal *r);

/* Functions of buffers.c. */
const char *why_device(struct device *dev);
void why_add(const struct op *op, void *priv);
void why_change(void *priv, int change);
void why_remove(void *priv);
void why_exported(void *priv, struct dma_buf *dmabuf);
bool why_is_exported(struct dma_buf *dmabuf);
void why_attached(struct dma_buf *dmabuf, struct device *dev, void *attachment);
void why_detached(struct dma_buf *dmabuf, void *attachment);
void why_found(struct vb2_buffer *vb);
u64 why_size(void *priv, struct device **dev);
void why_forget(enum allocator allocator);
int why_show_buffers(struct seq_file *file, void *unused);

#endif
