// SPDX-License-Identifier: GPL-2.0-only
/*
 * Information for users, in /sys/kernel/debug/VB3_NAME: buffers with their holders (buffers), counters of
 * operations (counters), and refusals with reasons (refusals, also in the log).
 */
#include <linux/ctype.h>
#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/ratelimit.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "buffer.h"

/* Taken before a buffer's mutex, and never while that is held. */
static DEFINE_MUTEX(list_lock);
static LIST_HEAD(list);
static u64 last_number;

/*
 * Copies the running program's name into a line of text. A program may put a newline there. A name that
 * changes now may be half old and half new.
 */
static void copy_comm(char *to)
{
	unsigned int i;

	memcpy(to, current->comm, TASK_COMM_LEN);
	for (i = 0; to[i]; i++)
		if (iscntrl(to[i]))
			to[i] = '?';
}

void vb3_list(struct vb3_buf *buf, struct device *dev, u64 addr)
{
	buf->dma_addr = addr;
	/* debugfs shows the device's name, even after the device is unplugged. */
	buf->dev = get_device(dev);
	buf->pid = task_tgid_nr(current);
	copy_comm(buf->comm);
	mutex_lock(&list_lock);
	buf->number = ++last_number;
	list_add_tail(&buf->all, &list);
	mutex_unlock(&list_lock);
}

/* Removes a buffer from the list before its end, so that readers of the list find only complete ones. */
void vb3_unlist(struct vb3_buf *buf)
{
	mutex_lock(&list_lock);
	list_del(&buf->all);
	mutex_unlock(&list_lock);
}

static const char *const kind_names[] = {
	[VB3_COHERENT] = "MMAP coherent",
	[VB3_NON_COHERENT] = "MMAP non-coherent",
	[VB3_USERPTR] = "USERPTR",
	[VB3_DMABUF] = "DMABUF",
};

static const char *const direction_names[] = { "both ways", "to device", "from device" };

static u64 seconds_since(u64 since_ns)
{
	u64 now = ktime_get_coarse_ns();

	return now > since_ns ? div_u64(now - since_ns, NSEC_PER_SEC) : 0;
}

/* vb3_rs_show in src/show.rs calls this, too: for each device, and for the kernel's mapping. */
void vb3_show_holder(struct seq_file *file, const char *kind, u32 count, struct device *dev,
		     int direction, u64 since_ns)
{
	seq_printf(file, "  %s", kind);
	if (dev)
		seq_printf(file, " %s", dev_name(dev));
	if (direction >= 0)
		seq_printf(file, " %s", direction_names[direction]);
	if (count != 1)
		seq_printf(file, " x%u", count);
	if (since_ns != U64_MAX)
		seq_printf(file, ", %llu s", seconds_since(since_ns));
	seq_putc(file, '\n');
}

static const char *const user_names[] = {
	[VB3_PLANE] = "queue",
	[VB3_MAPPING] = "mapping in a program",
	[VB3_EXPORT] = "dma-buf",
};

static void show_users(struct seq_file *file, struct vb3_buf *buf)
{
	unsigned int i;

	for (i = 0; i < VB3_KINDS; i++) {
		struct vb3_users *users = &buf->kinds[i];
		int count = atomic_read(&users->count);

		if (count > 0)
			vb3_show_holder(file, user_names[i], count,
					i == VB3_PLANE ? buf->dev : NULL, -1,
					(u64)READ_ONCE(users->since) * NSEC_PER_SEC);
	}
}

/* Only vb3_rs_show in src/show.rs calls this. Afterwards, that function shows the buffer's devices. */
void vb3_show_buffer(struct seq_file *file, const void *payload, u64 bytes, unsigned int kind,
		     int direction, const struct dma_buf *import)
{
	struct vb3_buf *buf = BUF(payload);

	seq_printf(file, "%llu %s: %s, %llu bytes at %#llx, %s, by %s[%d], synced %d, skipped %d\n",
		   buf->number, dev_name(buf->dev), kind_names[kind], bytes,
		   (u64)READ_ONCE(buf->dma_addr), direction_names[direction], buf->comm,
		   buf->pid, atomic_read(&buf->synced), atomic_read(&buf->skipped));
	if (import)
		seq_printf(file, "  of %s, inode %llu, %zu bytes\n", import->exp_name,
			   (u64)file_inode(import->file)->i_ino, import->size);
	show_users(file, buf);
}

static int buffers_show(struct seq_file *file, void *unused)
{
	struct vb3_buf *buf;

	mutex_lock(&list_lock);
	list_for_each_entry(buf, &list, all)
		vb3_rs_show(RUST(buf), file);
	mutex_unlock(&list_lock);
	return 0;
}

static const char *const counter_names[VB3_COUNTS] = {
	"bytes", "objects", "attachments", "mappings", "syncs", "skipped", "links", "refusals",
};

static int counters_show(struct seq_file *file, void *unused)
{
	unsigned int i;

	for (i = 0; i < VB3_COUNTS; i++)
		seq_printf(file, "%s %lld\n", counter_names[i], atomic64_read(&vb3_rs_counts[i]));
	return 0;
}

/* The last refusals. Their texts are constants of the Rust object. Devices are stored by name, since
 * they may be gone. */
#define REFUSALS 32
#define TEXT_OF(text) (text).len, (text).at
#define REFUSED VB3_NAME ": %.*s refused (%.*s%s); would do: %.*s\n"

struct refusal {
	u64 at_ns;
	char device[32];
	char comm[TASK_COMM_LEN];
	pid_t pid;
	struct vb3_refusal told;
};

static DEFINE_SPINLOCK(refusals_lock);
/* The array of refusals is allocated for the first one: most modules never refuse anything. */
static struct refusal *refusals;
static u64 refusals_made;

/* Stores a refusal for debugfs, if there is memory for the array. */
static void keep_refusal(struct device *dev, const struct vb3_refusal *told)
{
	struct refusal *first = NULL, *made;

	if (!READ_ONCE(refusals))
		first = kcalloc(REFUSALS, sizeof(*first), GFP_KERNEL | __GFP_NOWARN);
	spin_lock(&refusals_lock);
	if (!refusals) {
		refusals = first;
		first = NULL;
	}
	if (refusals) {
		made = &refusals[refusals_made++ % REFUSALS];
		made->at_ns = ktime_get_coarse_ns();
		strscpy(made->device, dev_name(dev), sizeof(made->device));
		copy_comm(made->comm);
		made->pid = task_tgid_nr(current);
		made->told = *told;
	}
	spin_unlock(&refusals_lock);
	kfree(first);
}

void vb3_refused(struct device *dev, const struct vb3_refusal *told)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST);
	char numbers[64];

	keep_refusal(dev, told);
	if (!__ratelimit(&limit))
		return;
	numbers[0] = 0;
	if (!told->has_addresses)
		snprintf(numbers, sizeof(numbers), ": wanted %llu, found %llu", told->wanted,
			 told->found);
	dev_info(dev, REFUSED, TEXT_OF(told->what), TEXT_OF(told->constraint), numbers,
		 TEXT_OF(told->remedy));
}

static int refusals_show(struct seq_file *file, void *unused)
{
	u64 at, end;

	spin_lock(&refusals_lock);
	end = refusals_made;
	spin_unlock(&refusals_lock);
	for (at = end > REFUSALS ? end - REFUSALS : 0; at < end; at++) {
		struct refusal r;

		spin_lock(&refusals_lock);
		r = refusals[at % REFUSALS];
		spin_unlock(&refusals_lock);
		seq_printf(file,
			   "%llu %s, %s[%d], %llu s ago: %.*s, %.*s: wanted %llu, found %llu; would do: %.*s\n",
			   at + 1, r.device, r.comm, r.pid, seconds_since(r.at_ns),
			   TEXT_OF(r.told.what), TEXT_OF(r.told.constraint), r.told.wanted,
			   r.told.found, TEXT_OF(r.told.remedy));
	}
	return 0;
}

DEFINE_SHOW_ATTRIBUTE(buffers);
DEFINE_SHOW_ATTRIBUTE(counters);
DEFINE_SHOW_ATTRIBUTE(refusals);

static struct dentry *dir;

void vb3_debug_init(void)
{
	dir = debugfs_create_dir(VB3_NAME, NULL);
	debugfs_create_file("buffers", 0400, dir, NULL, &buffers_fops);
	debugfs_create_file("counters", 0444, dir, NULL, &counters_fops);
	debugfs_create_file("refusals", 0400, dir, NULL, &refusals_fops);
}

void vb3_debug_exit(void)
{
	debugfs_remove(dir);
	kfree(refusals);
}
