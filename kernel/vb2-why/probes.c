// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records why stock videobuf2, DRM's imports and the heaps refused memory or calls, and which devices hold
 * buffers. The probes are armed while the module is loaded. Their handlers change nothing outside this
 * module.
 */
#include <linux/ctype.h>
#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/kprobes.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/videodev2.h>
#include <drm/drm_device.h>
#include <media/v4l2-dev.h>
#include <media/v4l2-fh.h>
#include <media/videobuf2-core.h>
#include <media/videobuf2-memops.h>

#include "why.h"

#if !IS_ENABLED(CONFIG_KRETPROBES) || !IS_ENABLED(CONFIG_HAVE_FUNCTION_ARG_ACCESS_API)
#error "vb2-why needs a kernel with CONFIG_KPROBES and CONFIG_KRETPROBES"
#endif

#define RECORDS 256
#define ARG(n) regs_get_kernel_argument(regs, n)

const char *const kinds[] = {
	[ALLOC] = "MMAP", [USERPTR] = "USERPTR", [ATTACH] = "DMABUF", [MAP] = "DMABUF",
	[PRIME] = "PRIME", [HEAP_SYSTEM] = "heap", [HEAP_CMA] = "heap",
	[REQBUFS] = "REQBUFS", [CREATE_BUFS] = "CREATE_BUFS", [PREPARE_BUF] = "PREPARE_BUF",
	[QBUF] = "QBUF", [EXPBUF] = "EXPBUF", [STREAMON] = "STREAMON",
	[DMABUF_ATTACH] = "attached",
};

struct probe {
	enum kind kind;
	bool is_contig, has_file;
	struct kretprobe rp;
};

#define CREATE_TRACE_POINTS
#include "events.h"

/* Protects everything below it. Handlers hold it. */
static DEFINE_RAW_SPINLOCK(lock);
static HLIST_HEAD(active);
static struct record refusals[RECORDS], buffers[RECORDS];
/*
 * Addresses of buffers and attachments. Only compared, never dereferenced: if a probe missed the end of a buffer,
 * its address here is stale.
 */
static void *keys[RECORDS];
static u64 refusals_made;
/*
 * Set before the probes are removed. Handlers then return at once: the removal frees the records of calls that are
 * under way, and `active` still points to them.
 */
static bool leaving;

static void set_device(struct record *r, struct device *dev)
{
	r->dev = dev;
	strscpy(r->device, dev ? dev_name(dev) : "no device", sizeof(r->device));
}

static void begin(struct record *r, enum kind kind, struct device *dev, u64 size,
		  struct dma_buf *dmabuf)
{
	unsigned int i;

	*r = (struct record){ .kind = kind, .size = size, .dmabuf = dmabuf, .task = current };
	r->pid = task_tgid_nr(current);
	strscpy(r->comm, current->comm, sizeof(r->comm));
	/* A program may put a newline there. */
	for (i = 0; r->comm[i]; i++)
		if (iscntrl(r->comm[i]))
			r->comm[i] = '?';
	set_device(r, dev);
	if (dmabuf) {
		r->inode = file_inode(dmabuf->file)->i_ino;
		strscpy(r->exporter, dmabuf->exp_name ?: "?", sizeof(r->exporter));
	}
}

/* Returns the record of the buffer with a key. For NULL, returns a free record. */
static struct record *find(void *key)
{
	unsigned int i;

	for (i = 0; i < RECORDS; i++)
		if (keys[i] == key)
			return &buffers[i];
	return NULL;
}

static void add(const struct record *op, void *key, int references)
{
	struct record *buffer = find(key) ?: find(NULL);

	if (buffer) {
		*buffer = *op;
		keys[buffer - buffers] = key;
		buffer->references = references;
	}
}

static void change(void *key, int by)
{
	struct record *buffer = key ? find(key) : NULL;

	if (buffer)
		buffer->references = max(buffer->references + by, 0);
	if (buffer && !buffer->references)
		keys[buffer - buffers] = NULL;
}

static bool is_probed(const void *function);

/*
 * When a frame is completed, adds its queue's buffers if they are older than the probes. Buffers of other
 * allocators are not added, because no probe sees their end.
 */
static void add_older(struct record *r, struct vb2_buffer *vb)
{
	enum kind kind = vb->memory == VB2_MEMORY_MMAP ? ALLOC :
			 vb->memory == VB2_MEMORY_USERPTR ? USERPTR : ATTACH;
	struct vb2_queue *q = vb->vb2_queue;
	unsigned int i;

	if (!is_probed(q->mem_ops->put))
		return;
	for (i = 0; i < vb->num_planes; i++) {
		struct vb2_plane *plane = &vb->planes[i];

		if (!plane->mem_priv || find(plane->mem_priv))
			continue;
		begin(r, kind, q->alloc_devs[i] ?: q->dev, plane->length, plane->dbuf);
		/* Any program may run now; the one that made the buffer is not known. */
		r->pid = 0;
		strscpy(r->comm, "?", sizeof(r->comm));
		r->queue_key = q;
		add(r, plane->mem_priv, kind == ALLOC ? q->mem_ops->num_users(plane->mem_priv) : 1);
	}
}

/* Returns the operation that this task is in. Only the task itself changes or ends it. */
static struct record *own_op(void)
{
	struct record *op;

	hlist_for_each_entry(op, &active, node)
		if (op->task == current)
			return op;
	return NULL;
}

/* Returns the queue of a file, if the driver keeps a file handle of V4L2 there. */
static struct vb2_queue *queue_of(struct file *file)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	struct v4l2_fh *fh = file->private_data;
	struct video_device *vdev;
	struct vb2_queue *q;
	int minor;

	if (fh && !get_kernel_nofault(vdev, &fh->vdev) && !get_kernel_nofault(minor, &vdev->minor) &&
	    minor == iminor(file_inode(file)) && !get_kernel_nofault(q, &vdev->queue))
		return q;
#endif
	return NULL;
}

/* Returns the bytes that a program's call is about, if the call says that. */
static u64 size_of(enum kind kind, const void *call)
{
	const struct v4l2_create_buffers *c = call;
	const struct v4l2_buffer *b = call;

	if (kind == CREATE_BUFS)
		return V4L2_TYPE_IS_MULTIPLANAR(c->format.type) ?
			c->format.fmt.pix_mp.plane_fmt[0].sizeimage : c->format.fmt.pix.sizeimage;
	if ((kind == QBUF || kind == PREPARE_BUF) && !V4L2_TYPE_IS_MULTIPLANAR(b->type))
		return b->length;
	return 0;
}

/*
 * Begins a program's call. The probed function is vb2_ioctl_*, whose first argument is a file, or vb2_*, which a
 * driver calls with its queue.
 */
static void begin_call(struct record *op, const struct probe *p, struct pt_regs *regs)
{
	bool is_qbuf = p->kind == QBUF || p->kind == PREPARE_BUF;
	void *call = (void *)ARG(p->has_file || is_qbuf ? 2 : 1);

	begin(op, p->kind, NULL, p->kind == STREAMON ? 0 : size_of(p->kind, call), NULL);
	op->call = call;
	if (p->has_file) {
		op->file = (void *)ARG(0);
		op->queue = queue_of(op->file);
		snprintf(op->device, sizeof(op->device), "%pD", op->file);
	} else {
		op->queue = (void *)ARG(0);
		op->is_begun = true;
		set_device(op, op->queue->dev);
	}
}

static void begin_op(struct record *op, const struct probe *p, struct pt_regs *regs)
{
	struct record *buffer = p->kind == MAP ? find((void *)ARG(0)) : NULL;
	struct dma_buf *dmabuf = p->kind == ATTACH ? (void *)ARG(2) : NULL;
	u64 size = p->kind == ALLOC ? ARG(2) : p->kind != MAP ? ARG(3) : buffer ? buffer->size : 0;

	if (is_call(p->kind)) {
		begin_call(op, p, regs);
	} else if (p->kind == PRIME) {
		begin(op, PRIME, ((struct drm_device *)ARG(0))->dev, 0, NULL);
	} else if (p->kind == HEAP_SYSTEM || p->kind == HEAP_CMA) {
		begin(op, p->kind, NULL, ARG(1), NULL);
		strscpy(op->device, p->kind == HEAP_CMA ? "cma-heap" : "system-heap", sizeof(op->device));
	} else {
		begin(op, p->kind, p->kind == MAP ? NULL : (void *)ARG(1), size, dmabuf);
		if (p->kind != MAP)
			op->queue_key = ((struct vb2_buffer *)ARG(0))->vb2_queue;
	}
	if (buffer)
		strscpy(op->device, buffer->device, sizeof(op->device));
	op->is_contig = p->is_contig;
	op->vaddr = ARG(2);
	hlist_add_head(&op->node, &active);
}

/* Names the program that holds the queue's buffers. */
static void name_holder(struct record *op)
{
	unsigned int i;

	for (i = 0; i < RECORDS && op->queue; i++)
		if (keys[i] && buffers[i].queue_key == op->queue) {
			op->holder_pid = buffers[i].pid;
			strscpy(op->holder, buffers[i].comm, sizeof(op->holder));
		}
}

/*
 * Returns whether there is nothing to record: the error is no refusal (EAGAIN, a signal), or a call inside this one
 * has recorded it.
 */
static bool is_told(const struct record *op, int error)
{
	return op->is_told || error == -EAGAIN || error == -EINTR || error == -ERESTARTSYS ||
	       error == -ENODEV;
}

static void end_op(struct record *op, void *value, int error)
{
	struct record *outer;

	hlist_del(&op->node);
	if (error && !is_told(op, error)) {
		op->error = -error;
		op->at_ns = ktime_get_mono_fast_ns();
		explain(op);
		if (!strcmp(op->constraint, "owner"))
			name_holder(op);
		trace_vb2_refused(op);
		refusals[refusals_made++ % RECORDS] = *op;
		hlist_for_each_entry(outer, &active, node)
			if (outer->task == current)
				outer->is_told = true;
	} else if (!error && (op->kind < MAP)) {
		add(op, value, 1);
	}
}

/* Handles the entry of a probed function. Returns 1 if its return need not be handled. */
static int on_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct kretprobe *rp = get_kretprobe(ri);
	struct probe *p = container_of(rp, struct probe, rp);
	struct record *call = (void *)ri->data;
	void *first = (void *)ARG(0), *second = (void *)ARG(1);
	struct vb2_vmarea_handler *handler;
	unsigned long flags;
	int skip = 1;

	if (!rp || READ_ONCE(leaving))
		return 1;
	raw_spin_lock_irqsave(&lock, flags);
	switch (p->kind) {
	case RELEASE:
		begin(call, RELEASE, NULL, 0, NULL);
		hlist_add_head(&call->node, &active);
		change(((struct dma_buf *)first)->priv, -1);
		skip = 0;
		break;
	case PUT:
		/* The release of a dma-buf calls this function, and has been counted already as RELEASE. */
		if (own_op() && own_op()->kind == RELEASE)
			break;
		fallthrough;
	case END:
	case DMABUF_DETACH:
		change(p->kind == DMABUF_DETACH ? second : first, p->kind == PUT ? -1 : INT_MIN);
		break;
	case VM_OPEN:
		handler = ((struct vm_area_struct *)first)->vm_private_data;
		change(handler->arg, 1);
		break;
	case DONE:
		add_older(call, first);
		break;
	case VERIFY:
	case CORE:
		if (own_op() && is_call(own_op()->kind)) {
			own_op()->queue = first;
			own_op()->is_begun |= p->kind == CORE;
		}
		break;
	case DMABUF_ATTACH:
		/* In videobuf2's dma-bufs, priv is the buffer. */
		second = first ? ((struct dma_buf *)first)->priv : NULL;
		call->op = own_op();
		skip = !call->op && (!second || !find(second));
		break;
	case EXPORT:
		skip = !second || !find(second);
		break;
	case GET:
	case DMA_MAP:
	case DMABUF_MAP:
		call->op = own_op();
		skip = !call->op;
		break;
	default:
		/* vb2_ioctl_qbuf calls vb2_qbuf. The inner call adds no record, but has the queue of the outer one. */
		if (is_call(p->kind) && own_op() && is_call(own_op()->kind)) {
			own_op()->queue = first;
			own_op()->is_begun = true;
			break;
		}
		begin_op(call, p, regs);
		skip = 0;
	}
	raw_spin_unlock_irqrestore(&lock, flags);
	call->arg[0] = first;
	call->arg[1] = (void *)ARG(1);
	return skip;
}

static int on_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct kretprobe *rp = get_kretprobe(ri);
	struct probe *p = container_of(rp, struct probe, rp);
	void *value = (void *)regs_return_value(regs);
	int error = value ? PTR_ERR_OR_ZERO(value) : -ENOMEM;
	struct record *call = (void *)ri->data, *op = call->op, *buffer;
	struct dma_buf_attachment *at = call->arg[0];
	struct dma_buf *dmabuf = call->arg[0];
	unsigned long flags;

	if (!rp || READ_ONCE(leaving))
		return 0;
	raw_spin_lock_irqsave(&lock, flags);
	/* These functions return int; the others return a pointer. */
	if (p->kind == MAP || p->kind == DMA_MAP || p->kind == PRIME || is_call(p->kind))
		error = (int)(long)value;
	switch (p->kind) {
	case RELEASE:
		hlist_del(&call->node);
		break;
	case GET:
		op->get_error = error;
		op->size = op->size ?: error ? 0 : ((struct dma_buf *)value)->size;
		break;
	case DMA_MAP:
		set_device(op, call->arg[0]);
		op->dma_error = error;
		look(op, call->arg[1], error);
		break;
	case DMABUF_MAP:
		set_device(op, at->dev);
		op->size = op->size ?: at->dmabuf->size;
		op->dmabuf_error = error;
		if (!error)
			look(op, value, 0);
		break;
	case EXPORT:
		buffer = error ? NULL : find(call->arg[1]);
		if (buffer) {
			buffer->references++;
			buffer->inode = file_inode(((struct dma_buf *)value)->file)->i_ino;
		}
		break;
	case DMABUF_ATTACH:
		if (op)
			op->attach_error = error;
		if (error || !find(dmabuf->priv))
			break;
		begin(call, DMABUF_ATTACH, call->arg[1], dmabuf->size, dmabuf);
		add(call, value, 1);
		break;
	default:
		end_op(call, value, error);
	}
	raw_spin_unlock_irqrestore(&lock, flags);
	return 0;
}

#define PROBE(symbol, k, ...) { .kind = k, .rp = { \
	.kp.symbol_name = symbol, .entry_handler = on_entry, .handler = on_return, \
	.data_size = sizeof(struct record), .maxactive = 32 }, __VA_ARGS__ }
#define OPS(prefix, ...) \
	PROBE(prefix "_alloc", ALLOC, __VA_ARGS__), \
	PROBE(prefix "_get_userptr", USERPTR, __VA_ARGS__), \
	PROBE(prefix "_attach_dmabuf", ATTACH, __VA_ARGS__), \
	PROBE(prefix "_map_dmabuf", MAP, __VA_ARGS__), PROBE(prefix "_get_dmabuf", EXPORT), \
	PROBE(prefix "_dmabuf_ops_release", RELEASE), PROBE(prefix "_put", PUT), PROBE(prefix "_put_userptr", END), \
	PROBE(prefix "_detach_dmabuf", END)

#define CALL(name, k) PROBE("vb2_ioctl_" name, k, .has_file = true), PROBE("vb2_" name, k)

static struct probe probes[] = {
	OPS("vb2_dc", .is_contig = true), OPS("vb2_dma_sg"), OPS("vb2_vmalloc"),
	PROBE("dma_map_sgtable", DMA_MAP), PROBE("dma_buf_map_attachment", DMABUF_MAP),
	PROBE("dma_buf_dynamic_attach", DMABUF_ATTACH), PROBE("dma_buf_detach", DMABUF_DETACH),
	PROBE("vb2_common_vm_open", VM_OPEN), PROBE("vb2_buffer_done", DONE),
	CALL("reqbufs", REQBUFS), CALL("create_bufs", CREATE_BUFS), CALL("prepare_buf", PREPARE_BUF),
	CALL("qbuf", QBUF), CALL("expbuf", EXPBUF), CALL("streamon", STREAMON),
	PROBE("vb2_verify_memory_type", VERIFY), PROBE("vb2_core_reqbufs", CORE),
	PROBE("vb2_core_create_bufs", CORE), PROBE("dma_buf_get", GET),
	PROBE("drm_gem_prime_fd_to_handle", PRIME, .is_contig = true),
	PROBE("system_heap_allocate", HEAP_SYSTEM), PROBE("cma_heap_allocate", HEAP_CMA),
};
static DEFINE_MUTEX(arming);

/* Returns whether a function has a probe, which is at or shortly after its first instruction. */
static bool is_probed(const void *function)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (function && (unsigned long)probes[i].rp.kp.addr - (unsigned long)function < 16)
			return true;
	return false;
}

/* Arms the probes of all functions that exist. If a function's module goes, its probe goes with it. */
static void arm_all(void)
{
	unsigned int i;

	mutex_lock(&arming);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		struct kretprobe *rp = &probes[i].rp;

		if (rp->kp.addr && kprobe_gone(&rp->kp)) {
			unregister_kretprobe(rp);
			rp->kp.addr = NULL;
		}
		if (!rp->kp.addr && register_kretprobe(rp))
			rp->kp.addr = NULL;
	}
	mutex_unlock(&arming);
}

static int on_module(struct notifier_block *nb, unsigned long event, void *module)
{
	if (event == MODULE_STATE_COMING)
		arm_all();
	return NOTIFY_DONE;
}

static struct notifier_block modules = { .notifier_call = on_module };
static struct dentry *dir;

/* Prints a record as one line, for programs. */
static void print(struct seq_file *file, const struct record *r, u64 seconds)
{
	seq_printf(file, "%s: %s, %llu bytes, by %s[%d], ", r->device, kinds[r->kind], r->size, r->comm,
		   r->pid);
	if (r->constraint)
		seq_printf(file, "%llu s ago: %s: wanted %llu, found %llu, %u segments, longest %llu, errno %d\n",
			   seconds, r->constraint, r->wanted, r->found, r->segments, r->longest, r->error);
	else
		seq_printf(file, "references %d, inode %llu%s%s\n", r->references, r->inode,
			   r->exporter[0] ? " of " : "", r->exporter);
}

/* Prints all records of a list, the oldest first, and returns how many there were. */
static unsigned int print_all(struct seq_file *file, const struct record *all,
			      void (*print_one)(struct seq_file *, const struct record *, u64))
{
	unsigned int i, count = 0;

	for (i = 0; i < RECORDS; i++) {
		unsigned long flags;
		struct record r;

		raw_spin_lock_irqsave(&lock, flags);
		r = all[(refusals_made + i) % RECORDS];
		raw_spin_unlock_irqrestore(&lock, flags);
		if (!r.constraint && !r.references)
			continue;
		count++;
		print_one(file, &r, div_u64(ktime_get_mono_fast_ns() - r.at_ns, NSEC_PER_SEC));
	}
	return count;
}

/* Each probe misses the calls beyond 32 at a time. */
static void print_missed(struct seq_file *file)
{
	unsigned int i, missed = 0;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		missed += probes[i].rp.nmissed;
	if (missed)
		seq_printf(file, "%u calls missed\n", missed);
}

static int records_show(struct seq_file *file, void *unused)
{
	print_all(file, file->private, print);
	print_missed(file);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(records);

/* The file for people: refusals in sentences, and the buffers. */
static int why_show(struct seq_file *file, void *unused)
{
	if (!print_all(file, refusals, tell))
		seq_puts(file, "The kernel has refused no buffer since vb2-why was loaded.\n");
	seq_puts(file, "Buffers held now:\n");
	if (!print_all(file, buffers, print))
		seq_puts(file, "none\n");
	print_missed(file);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(why);

static void disarm_all(void)
{
	static struct kretprobe *armed[ARRAY_SIZE(probes)];
	unsigned int i, count = 0;

	unregister_module_notifier(&modules);
	WRITE_ONCE(leaving, true);
	/* All probes end in one call, so that the kernel waits for running handlers only once. */
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (probes[i].rp.kp.addr)
			armed[count++] = &probes[i].rp;
	unregister_kretprobes(armed, count);
}

static int __init why_init(void)
{
	unsigned int i, armed = 0;

	register_module_notifier(&modules);
	arm_all();
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		armed += !!probes[i].rp.kp.addr;
	if (!armed) {
		disarm_all();
		pr_err("vb2-why: the kernel refuses all probes: it needs CONFIG_KALLSYMS, and no lockdown=confidentiality\n");
		return -EOPNOTSUPP;
	}
	pr_info("vb2-why: %u of %zu probes armed; the others wait for their modules\n", armed,
		ARRAY_SIZE(probes));
	dir = debugfs_create_dir("vb2-why", NULL);
	if (IS_ERR(dir))
		pr_warn("vb2-why: no debugfs (CONFIG_DEBUG_FS): only trace events report refusals\n");
	debugfs_create_file("why", 0400, dir, NULL, &why_fops);
	debugfs_create_file("refusals", 0400, dir, refusals, &records_fops);
	debugfs_create_file("buffers", 0400, dir, buffers, &records_fops);
	return 0;
}

static void __exit why_exit(void)
{
	debugfs_remove(dir);
	disarm_all();
}

module_init(why_init);
module_exit(why_exit);

MODULE_DESCRIPTION("Why the kernel refused video buffers, and who holds them");
MODULE_LICENSE("GPL");
