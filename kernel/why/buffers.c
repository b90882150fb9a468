// SPDX-License-Identifier: GPL-2.0-only
/*
 * The buffers that the probes have seen. Pointers are only keys and are never dereferenced, because a
 * probe may have missed a buffer's end.
 */
#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <media/videobuf2-core.h>

#include "why.h"

#define BUFFERS 256
#define HOLDERS 8

struct holder {
	void *attachment;
	char device[32];
};

struct buffer {
	enum allocator allocator;
	enum kind kind;
	char device[32], exporter[24], comm[TASK_COMM_LEN];
	pid_t pid;
	int references;
	u64 size, inode;
	struct device *dev;
	struct dma_buf *exported;
	/* Attachments beyond HOLDERS are only counted. */
	int attachments;
	struct holder holders[HOLDERS];
};

static DEFINE_RAW_SPINLOCK(lock);
/* Separate from the buffers, for a fast search. */
static void *keys[BUFFERS];
static struct buffer buffers[BUFFERS];
static unsigned int left_out;

const char *why_device(struct device *dev)
{
	return dev ? dev_name(dev) : "no device";
}

static struct buffer *find(void *priv)
{
	unsigned int i;

	for (i = 0; i < BUFFERS; i++)
		if (keys[i] == priv)
			return &buffers[i];
	return NULL;
}

static void add(const struct op *op, void *priv, int references)
{
	struct buffer *b = find(priv) ?: find(NULL);

	if (!b) {
		left_out++;
		return;
	}
	memset(b, 0, sizeof(*b));
	keys[b - buffers] = priv;
	b->allocator = op->allocator;
	b->kind = op->kind;
	b->dev = op->dev;
	b->size = op->size;
	b->references = references;
	b->pid = task_tgid_nr(current);
	strscpy(b->comm, current->comm, sizeof(b->comm));
	strscpy(b->device, why_device(op->dev), sizeof(b->device));
	if (op->kind == ATTACH) {
		strscpy(b->exporter, op->dmabuf->exp_name ?: "?", sizeof(b->exporter));
		b->inode = file_inode(op->dmabuf->file)->i_ino;
	}
}

void why_add(const struct op *op, void *priv)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&lock, flags);
	add(op, priv, 1);
	raw_spin_unlock_irqrestore(&lock, flags);
}

void why_change(void *priv, int change)
{
	unsigned long flags;
	struct buffer *b;

	raw_spin_lock_irqsave(&lock, flags);
	b = priv ? find(priv) : NULL;
	if (b && (b->references += change) <= 0)
		keys[b - buffers] = NULL;
	raw_spin_unlock_irqrestore(&lock, flags);
}

void why_remove(void *priv)
{
	why_change(priv, -INT_MAX);
}

void why_exported(void *priv, struct dma_buf *dmabuf)
{
	unsigned long flags;
	struct buffer *b;

	raw_spin_lock_irqsave(&lock, flags);
	b = find(priv);
	if (b) {
		b->references++;
		b->exported = dmabuf;
		b->inode = file_inode(dmabuf->file)->i_ino;
	}
	raw_spin_unlock_irqrestore(&lock, flags);
}

static struct buffer *find_exported(struct dma_buf *dmabuf)
{
	unsigned int i;

	for (i = 0; i < BUFFERS; i++)
		if (keys[i] && buffers[i].exported == dmabuf)
			return &buffers[i];
	return NULL;
}

bool why_is_exported(struct dma_buf *dmabuf)
{
	unsigned long flags;
	bool is;

	raw_spin_lock_irqsave(&lock, flags);
	is = find_exported(dmabuf);
	raw_spin_unlock_irqrestore(&lock, flags);
	return is;
}

/* Adds an attachment to the list of an exported buffer. */
void why_attached(struct dma_buf *dmabuf, struct device *dev, void *attachment)
{
	unsigned long flags;
	struct buffer *b;
	int i;

	raw_spin_lock_irqsave(&lock, flags);
	b = find_exported(dmabuf);
	for (i = 0; b && i < HOLDERS; i++) {
		if (b->holders[i].attachment)
			continue;
		b->holders[i].attachment = attachment;
		strscpy(b->holders[i].device, why_device(dev), sizeof(b->holders[i].device));
		break;
	}
	if (b)
		b->attachments++;
	raw_spin_unlock_irqrestore(&lock, flags);
}

void why_detached(struct dma_buf *dmabuf, void *attachment)
{
	unsigned long flags;
	struct buffer *b;
	int i;

	raw_spin_lock_irqsave(&lock, flags);
	b = find_exported(dmabuf);
	for (i = 0; b && i < HOLDERS; i++)
		if (b->holders[i].attachment == attachment)
			b->holders[i].attachment = NULL;
	if (b && b->attachments)
		b->attachments--;
	raw_spin_unlock_irqrestore(&lock, flags);
}

/* Adds a completed frame's buffer if it is older than the probes. */
void why_found(struct vb2_buffer *vb)
{
	static const enum kind kinds[] = {
		[VB2_MEMORY_MMAP] = ALLOC, [VB2_MEMORY_USERPTR] = USERPTR, [VB2_MEMORY_DMABUF] = ATTACH,
	};
	struct vb2_queue *q = vb->vb2_queue;
	unsigned long flags;
	unsigned int i;

	for (i = 0; i < vb->num_planes; i++) {
		struct vb2_plane *plane = &vb->planes[i];
		int references = 1;
		struct op op = {
			.allocator = NO_ALLOCATOR,
			.kind = kinds[vb->memory % ARRAY_SIZE(kinds)],
			.dev = q->alloc_devs[i] ?: q->dev,
			.dmabuf = plane->dbuf,
			.size = plane->length,
		};

		if (!plane->mem_priv || (op.kind == ATTACH && !op.dmabuf))
			continue;
		if (op.kind == ALLOC && q->mem_ops->num_users)
			references = q->mem_ops->num_users(plane->mem_priv);
		raw_spin_lock_irqsave(&lock, flags);
		if (!find(plane->mem_priv))
			add(&op, plane->mem_priv, references);
		raw_spin_unlock_irqrestore(&lock, flags);
	}
}

/* Returns a buffer's size, and its device if known. */
u64 why_size(void *priv, struct device **dev)
{
	unsigned long flags;
	struct buffer *b;
	u64 size;

	raw_spin_lock_irqsave(&lock, flags);
	b = find(priv);
	size = b ? b->size : 0;
	*dev = b ? b->dev : NULL;
	raw_spin_unlock_irqrestore(&lock, flags);
	return size;
}

/* Forgets an allocator's buffers, or all for NO_ALLOCATOR. */
void why_forget(enum allocator allocator)
{
	unsigned long flags;
	unsigned int i;

	raw_spin_lock_irqsave(&lock, flags);
	for (i = 0; i < BUFFERS; i++)
		if (allocator == NO_ALLOCATOR || buffers[i].allocator == allocator)
			keys[i] = NULL;
	left_out = 0;
	raw_spin_unlock_irqrestore(&lock, flags);
}

static void show(struct seq_file *file, const struct buffer *b)
{
	static const char *const kinds[] = {
		[ALLOC] = "MMAP", [USERPTR] = "USERPTR", [ATTACH] = "DMABUF",
	};
	int i;

	seq_printf(file, "%s: %s, %llu bytes, by %s[%d], references %d", b->device, kinds[b->kind],
		   b->size, b->comm, b->pid, b->references);
	if (b->kind == ATTACH)
		seq_printf(file, ", of %s, inode %llu", b->exporter, b->inode);
	else if (b->exported)
		seq_printf(file, ", exported, inode %llu, attachments %d", b->inode, b->attachments);
	seq_putc(file, '\n');
	for (i = 0; i < HOLDERS; i++)
		if (b->holders[i].attachment)
			seq_printf(file, "  attached %s\n", b->holders[i].device);
}

int why_show_buffers(struct seq_file *file, void *unused)
{
	unsigned long flags;
	unsigned int i;

	for (i = 0; i < BUFFERS; i++) {
		struct buffer b;
		bool is;

		raw_spin_lock_irqsave(&lock, flags);
		is = keys[i];
		b = buffers[i];
		raw_spin_unlock_irqrestore(&lock, flags);
		if (is)
			show(file, &b);
	}
	if (left_out)
		seq_printf(file, "%u more: the list is full\n", left_out);
	return 0;
}
