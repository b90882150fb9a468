// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records why stock videobuf2 refused memory, and which devices hold its buffers. The probes are armed
 * while the module is loaded. Their handlers change nothing outside this module.
 */
#include <linux/ctype.h>
#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/iommu.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <media/videobuf2-core.h>
#include <media/videobuf2-memops.h>

#define RECORDS 256
#define ARG(n) regs_get_kernel_argument(regs, n)
#define SAY(c, w, f) (op->constraint = (c), op->wanted = (w), op->found = (f))

/* Kinds of probed functions. Those up to MAP are operations, which can be refused. */
enum kind {
	ALLOC, USERPTR, ATTACH, MAP,
	EXPORT, RELEASE, PUT, END, DMA_MAP, DMABUF_MAP, DMABUF_ATTACH, DMABUF_DETACH, VM_OPEN, DONE,
};

static const char *const kinds[] = {
	[ALLOC] = "MMAP", [USERPTR] = "USERPTR", [ATTACH] = "DMABUF", [MAP] = "DMABUF",
	[DMABUF_ATTACH] = "attached",
};

struct probe {
	enum kind kind;
	bool is_contig;
	struct kretprobe rp;
};

/* A call in progress, a refusal, a buffer, or a device's attachment to an exported buffer. */
struct record {
	enum kind kind;
	pid_t pid;
	char comm[TASK_COMM_LEN], device[32], exporter[24];
	u64 size, inode;
	/* If this is a buffer. */
	int references;
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
	/* Calls of dma_map_sgtable() and dma_buf_map_attachment() inside: errors and last scatter table. */
	int dma_error, dmabuf_error;
	unsigned int segments;
	u64 contiguous, longest, last_address;
	/* If this is a refusal. */
	const char *constraint;
	int error;
	u64 wanted, found, at_ns;
};

#define CREATE_TRACE_POINTS
#include "events.h"

/* Protects everything below it. Handlers hold it. */
static DEFINE_RAW_SPINLOCK(lock);
static HLIST_HEAD(active);
static struct record refusals[RECORDS], buffers[RECORDS];
/* Addresses of buffers and attachments. Never dereferenced: a probe may have missed that one ended. */
static void *keys[RECORDS];
static u64 refusals_made;
/* Set before the probes go. A call under way then ends unseen, and its record in `active` is freed. */
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

static bool is_translated(struct device *dev)
{
	struct iommu_domain *domain = dev ? iommu_get_domain_for_dev(dev) : NULL;

	return domain && domain->type & __IOMMU_DOMAIN_PAGING;
}

/* Reads a scatter table after its mapping: the DMA addresses if that succeeded, otherwise the pages. */
static void look(struct record *op, struct sg_table *sgt, int error)
{
	/* The end of a long table is left out, because handlers run with preemption disabled. */
	unsigned int i, count = min(error ? sgt->orig_nents : sgt->nents, 65536u);
	struct scatterlist *sg;
	dma_addr_t next = 0;

	op->contiguous = op->longest = op->last_address = 0;
	op->segments = count;
	for_each_sg(sgt->sgl, sg, count, i) {
		if (!error) {
			if (i && sg_dma_address(sg) != next)
				break;
			next = sg_dma_address(sg) + sg_dma_len(sg);
			op->contiguous += sg_dma_len(sg);
		} else if (sg_page(sg)) {
			op->longest = max_t(u64, op->longest, sg->length);
			op->last_address = max_t(u64, op->last_address, sg_phys(sg) + sg->length - 1);
		}
	}
}

/* Explains an operation's error by the first constraint that the operation violates. */
static void explain(struct record *op)
{
	bool is_user = op->kind == USERPTR;
	/* The free CMA memory, or the largest block of the page allocator if that is more. */
	u64 room = (u64)max(global_zone_page_state(NR_FREE_CMA_PAGES),
			    1ul << (ARRAY_SIZE(((struct zone *)NULL)->free_area) - 1)) << PAGE_SHIFT;
	u64 free = (u64)si_mem_available() << PAGE_SHIFT;
	/* The largest bounce. SIZE_MAX: the kernel does not bounce for this device. */
	size_t bounce = op->dma_error ? dma_max_mapping_size(op->dev) : 0;
	/* The last physical address that the device reaches without an IOMMU. */
	u64 limit = op->dma_error ? min_not_zero(dma_get_mask(op->dev), op->dev->bus_dma_limit) : 0;
	u64 last = op->dma_error ? dma_to_phys(op->dev, limit) : 0;

	if (is_user && !op->size)
		SAY("buffer-size", 1, 0);
	else if (is_user && op->is_contig && !IS_ALIGNED(op->vaddr | op->size, dma_get_cache_alignment()))
		SAY("alignment", dma_get_cache_alignment(), 1u << __ffs(op->vaddr | op->size));
	else if (op->kind == ATTACH && op->dmabuf->size < op->size)
		SAY("buffer-size", op->size, op->dmabuf->size);
	else if (op->dma_error && is_translated(op->dev))
		SAY("iova-space", op->size, 0);
	else if (op->dma_error && op->last_address > last && (op->longest > bounce || bounce == SIZE_MAX))
		SAY("dma-mask", op->last_address, last);
	else if (op->dma_error)
		SAY("bounce-pool", op->longest, bounce);
	else if (op->is_contig && op->segments && !op->dmabuf_error && op->contiguous < op->size)
		SAY("contiguous", op->size, op->contiguous);
	else if (op->kind == MAP && !op->dev)
		SAY("cpu-mapping", op->size, 0);
	else if (op->kind == ATTACH || op->kind == MAP)
		SAY("exporter-errno", 0, op->dmabuf_error ? -op->dmabuf_error : op->error);
	else if (is_user)
		SAY("user-pages", PAGE_ALIGN(offset_in_page(op->vaddr) + op->size) >> PAGE_SHIFT, 0);
	else if (op->is_contig && op->dev && !is_translated(op->dev))
		SAY(op->size > room ? "cma-size" : "contiguous", op->size, room);
	else if (op->is_contig && op->dev && op->size <= free)
		SAY("iova-space", op->size, 0);
	else
		SAY("ram", op->size, free);
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

static void begin_op(struct record *op, const struct probe *p, struct pt_regs *regs)
{
	struct record *buffer = p->kind == MAP ? find((void *)ARG(0)) : NULL;
	struct dma_buf *dmabuf = p->kind == ATTACH ? (void *)ARG(2) : NULL;
	u64 size = p->kind == ALLOC ? ARG(2) : p->kind != MAP ? ARG(3) : buffer ? buffer->size : 0;

	begin(op, p->kind, p->kind == MAP ? NULL : (void *)ARG(1), size, dmabuf);
	if (buffer)
		strscpy(op->device, buffer->device, sizeof(op->device));
	op->is_contig = p->is_contig;
	op->vaddr = ARG(2);
	hlist_add_head(&op->node, &active);
}

static void end_op(struct record *op, void *value, int error)
{
	hlist_del(&op->node);
	if (error) {
		op->error = -error;
		op->at_ns = ktime_get_mono_fast_ns();
		explain(op);
		trace_vb2_refused(op);
		refusals[refusals_made++ % RECORDS] = *op;
	} else if (op->kind != MAP) {
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
		/* Compilers put this function into the release of a dma-buf, or call it there. */
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
	case DMABUF_ATTACH:
		/* In videobuf2's dma-bufs, priv is the buffer. */
		second = first ? ((struct dma_buf *)first)->priv : NULL;
		fallthrough;
	case EXPORT:
		skip = !second || !find(second);
		break;
	case DMA_MAP:
	case DMABUF_MAP:
		call->op = own_op();
		skip = !call->op;
		break;
	default:
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
	if (p->kind == MAP || p->kind == DMA_MAP)
		error = (int)(long)value;
	switch (p->kind) {
	case RELEASE:
		hlist_del(&call->node);
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
		begin(call, DMABUF_ATTACH, call->arg[1], dmabuf->size, dmabuf);
		if (!error)
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

static struct probe probes[] = {
	OPS("vb2_dc", .is_contig = true), OPS("vb2_dma_sg"), OPS("vb2_vmalloc"),
	PROBE("dma_map_sgtable", DMA_MAP), PROBE("dma_buf_map_attachment", DMABUF_MAP),
	PROBE("dma_buf_dynamic_attach", DMABUF_ATTACH), PROBE("dma_buf_detach", DMABUF_DETACH),
	PROBE("vb2_common_vm_open", VM_OPEN), PROBE("vb2_buffer_done", DONE),
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

static int records_show(struct seq_file *file, void *unused)
{
	const struct record *all = file->private;
	unsigned int i, missed = 0;

	for (i = 0; i < RECORDS; i++) {
		unsigned long flags;
		struct record r;

		raw_spin_lock_irqsave(&lock, flags);
		r = all[(refusals_made + i) % RECORDS];
		raw_spin_unlock_irqrestore(&lock, flags);
		if (!r.constraint && !r.references)
			continue;
		seq_printf(file, "%s: %s, %llu bytes, by %s[%d], ", r.device, kinds[r.kind], r.size,
			   r.comm, r.pid);
		if (r.constraint)
			seq_printf(file, "%llu s ago: %s: wanted %llu, found %llu, %u segments, longest %llu, errno %d\n",
				   div_u64(ktime_get_mono_fast_ns() - r.at_ns, NSEC_PER_SEC),
				   r.constraint, r.wanted, r.found, r.segments, r.longest, r.error);
		else
			seq_printf(file, "references %d, inode %llu%s%s\n", r.references, r.inode,
				   r.exporter[0] ? " of " : "", r.exporter);
	}
	/* Each probe misses the calls beyond 32 at a time. */
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		missed += probes[i].rp.nmissed;
	if (missed)
		seq_printf(file, "%u calls missed\n", missed);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(records);

static int __init why_init(void)
{
	register_module_notifier(&modules);
	arm_all();
	dir = debugfs_create_dir("vb2-why", NULL);
	debugfs_create_file("refusals", 0400, dir, refusals, &records_fops);
	debugfs_create_file("buffers", 0400, dir, buffers, &records_fops);
	return 0;
}

static void __exit why_exit(void)
{
	static struct kretprobe *armed[ARRAY_SIZE(probes)];
	unsigned int i, count = 0;

	debugfs_remove(dir);
	unregister_module_notifier(&modules);
	WRITE_ONCE(leaving, true);
	/* All probes end in one call, so that the kernel waits for running handlers only once. */
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (probes[i].rp.kp.addr)
			armed[count++] = &probes[i].rp;
	unregister_kretprobes(armed, count);
}

module_init(why_init);
module_exit(why_exit);

MODULE_DESCRIPTION("Why videobuf2 refused memory, and who holds its buffers");
MODULE_LICENSE("GPL");
