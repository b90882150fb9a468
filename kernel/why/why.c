// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records why stock videobuf2 refused memory, and which tasks hold its buffers. Probes are armed only
 * while the parameter `enabled` is set. Handlers change nothing outside this module.
 */
#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/hash.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <media/videobuf2-memops.h>

#define CREATE_TRACE_POINTS
#include "events.h"

#define REFUSALS 256
#define TASKS_BITS 5

struct probe {
	const char *symbol;
	enum kind kind;
	enum allocator allocator;
	bool is_armed;
	struct kretprobe rp;
};

#define OPS(prefix, a) \
	{ prefix "_alloc", ALLOC, a }, { prefix "_get_userptr", USERPTR, a }, \
	{ prefix "_attach_dmabuf", ATTACH, a }, { prefix "_map_dmabuf", MAP, a }, \
	{ prefix "_get_dmabuf", EXPORT, a }, { prefix "_mmap", MMAP, a }, { prefix "_put", PUT, a }, \
	{ prefix "_put_userptr", PUT_USERPTR, a }, { prefix "_detach_dmabuf", DETACH, a }

static struct probe probes[] = {
	OPS("vb2_dc", CONTIG), OPS("vb2_dma_sg", SG), OPS("vb2_vmalloc", VMALLOC),
	{ "dma_map_sgtable", DMA_MAP, NO_ALLOCATOR },
	{ "dma_buf_map_attachment", DMABUF_MAP, NO_ALLOCATOR },
	{ "dma_buf_dynamic_attach", DMABUF_ATTACH, NO_ALLOCATOR },
	{ "dma_buf_detach", DMABUF_DETACH, NO_ALLOCATOR },
	{ "vb2_common_vm_open", VM_OPEN, NO_ALLOCATOR },
	{ "vb2_buffer_done", DONE, NO_ALLOCATOR },
};

static DEFINE_RAW_SPINLOCK(lock);
static struct hlist_head active[1 << TASKS_BITS];
static struct refusal refusals[REFUSALS];
static u64 refusals_made;

/* The arguments of a call inside an operation. */
struct call {
	unsigned long arg[2];
};

#define ARG(n) regs_get_kernel_argument(regs, n)

static struct hlist_head *mine(void)
{
	return &active[hash_ptr(current, TASKS_BITS)];
}

/* Returns this task's operation. Only the task changes or ends it. */
static struct op *own_op(void)
{
	struct op *op, *found = NULL;
	unsigned long flags;

	raw_spin_lock_irqsave(&lock, flags);
	hlist_for_each_entry(op, mine(), node) {
		if (op->task == current) {
			found = op;
			break;
		}
	}
	raw_spin_unlock_irqrestore(&lock, flags);
	return found;
}

static void begin_op(struct op *op, const struct probe *p, struct pt_regs *regs)
{
	unsigned long flags;

	memset(op, 0, sizeof(*op));
	op->task = current;
	op->kind = p->kind;
	op->allocator = p->allocator;
	switch (p->kind) {
	case ALLOC:
		op->dev = (void *)ARG(1);
		op->size = ARG(2);
		break;
	case USERPTR:
	case ATTACH:
		op->dev = (void *)ARG(1);
		op->vaddr = ARG(2);
		op->dmabuf = p->kind == ATTACH ? (void *)ARG(2) : NULL;
		op->size = ARG(3);
		break;
	case EXPORT:
		op->priv = (void *)ARG(1);
		op->size = why_size(op->priv, &op->dev);
		break;
	default:
		op->priv = (void *)ARG(0);
		op->size = why_size(op->priv, &op->dev);
		if (p->kind == MMAP) {
			struct vm_area_struct *vma = (void *)ARG(1);

			op->vaddr = vma->vm_end - vma->vm_start;
		}
	}
	raw_spin_lock_irqsave(&lock, flags);
	hlist_add_head(&op->node, mine());
	raw_spin_unlock_irqrestore(&lock, flags);
}

static void refuse(const struct op *op, int error)
{
	struct refusal r = { .at_ns = ktime_get_mono_fast_ns(), .error = -error };
	unsigned long flags;

	r.pid = task_tgid_nr(current);
	strscpy(r.comm, current->comm, sizeof(r.comm));
	strscpy(r.device, why_device(op->dev), sizeof(r.device));
	why_explain(op, &r);
	raw_spin_lock_irqsave(&lock, flags);
	refusals[refusals_made++ % REFUSALS] = r;
	raw_spin_unlock_irqrestore(&lock, flags);
	trace_vb2_refused(&r);
}

static void end_op(struct op *op, unsigned long value)
{
	/* MAP and MMAP return int, the others return a pointer. */
	bool is_int = op->kind == MAP || op->kind == MMAP;
	long error = is_int ? (int)value : IS_ERR_VALUE(value) ? (long)value : value ? 0 : -ENOMEM;
	unsigned long flags;

	raw_spin_lock_irqsave(&lock, flags);
	hlist_del(&op->node);
	raw_spin_unlock_irqrestore(&lock, flags);
	if (error < 0)
		refuse(op, error);
	else if (op->kind <= ATTACH)
		why_add(op, (void *)value);
	else if (op->kind == EXPORT)
		why_exported(op->priv, (void *)value);
}

/* Handles the entry of a probed function; returns 1 to skip its return. */
static int on_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct kretprobe *rp = get_kretprobe(ri);
	struct probe *p = container_of(rp, struct probe, rp);
	struct vb2_vmarea_handler *handler;
	struct call *call = (void *)ri->data;

	if (!rp)
		return 1;
	if (p->kind <= MMAP) {
		begin_op((void *)ri->data, p, regs);
		return 0;
	}
	switch (p->kind) {
	case PUT:
		why_change((void *)ARG(0), -1);
		return 1;
	case PUT_USERPTR:
	case DETACH:
		why_remove((void *)ARG(0));
		return 1;
	case DMABUF_DETACH:
		why_detached((void *)ARG(0), (void *)ARG(1));
		return 1;
	case VM_OPEN:
		handler = ((struct vm_area_struct *)ARG(0))->vm_private_data;
		why_change(handler->arg, 1);
		return 1;
	case DONE:
		why_found((void *)ARG(0));
		return 1;
	case DMABUF_ATTACH:
		if (!why_is_exported((void *)ARG(0)))
			return 1;
		break;
	default:
		if (!own_op())
			return 1;
	}
	call->arg[0] = ARG(0);
	call->arg[1] = ARG(1);
	return 0;
}

/* Handles the return of a call inside an operation. */
static void end_call(const struct probe *p, const struct call *call, unsigned long value)
{
	struct dma_buf_attachment *at = (void *)call->arg[0];
	struct op *op = own_op();

	if (!op)
		return;
	if (p->kind == DMA_MAP) {
		op->dma_error = (int)value;
		op->dev = (void *)call->arg[0];
		why_look(op, (void *)call->arg[1], (int)value);
		return;
	}
	op->dev = at->dev;
	op->size = op->size ?: at->dmabuf->size;
	op->dmabuf_error = IS_ERR_VALUE(value) ? (int)value : value ? 0 : -ENOMEM;
	if (!op->dmabuf_error)
		why_look(op, (void *)value, 0);
}

static int on_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct kretprobe *rp = get_kretprobe(ri);
	struct probe *p = container_of(rp, struct probe, rp);
	unsigned long value = regs_return_value(regs);
	struct call *call = (void *)ri->data;

	if (!rp)
		return 0;
	if (p->kind <= MMAP)
		end_op((void *)ri->data, value);
	else if (p->kind != DMABUF_ATTACH)
		end_call(p, call, value);
	else if (!IS_ERR_OR_NULL((void *)value))
		why_attached((void *)call->arg[0], (void *)call->arg[1], (void *)value);
	return 0;
}

/* Arming. */

static DEFINE_MUTEX(arming);
static bool enabled = true, is_loaded;

static void arm(struct probe *p)
{
	if (p->is_armed)
		return;
	memset(&p->rp, 0, sizeof(p->rp));
	p->rp.kp.symbol_name = p->symbol;
	p->rp.entry_handler = on_entry;
	p->rp.handler = on_return;
	p->rp.data_size = p->kind <= MMAP ? sizeof(struct op) : sizeof(struct call);
	p->rp.maxactive = 32;
	/* A module that is not loaded has no symbols. Its probes are registered when it loads. */
	p->is_armed = !register_kretprobe(&p->rp);
}

static void disarm(struct probe *p)
{
	if (p->is_armed)
		unregister_kretprobe(&p->rp);
	p->is_armed = false;
}

static void arm_all(bool on)
{
	/* Unregisters all at once, so that the kernel waits for running handlers only once. */
	static struct kretprobe *armed[ARRAY_SIZE(probes)];
	unsigned int i, count = 0;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (on)
			arm(&probes[i]);
		else if (probes[i].is_armed)
			armed[count++] = &probes[i].rp;
		probes[i].is_armed &= on;
	}
	if (on)
		return;
	unregister_kretprobes(armed, count);
	/* The probes do not see the end of operations in progress. */
	memset(active, 0, sizeof(active));
	why_forget(NO_ALLOCATOR);
}

static int set_enabled(const char *text, const struct kernel_param *param)
{
	int ret;

	mutex_lock(&arming);
	ret = param_set_bool(text, param);
	if (!ret && is_loaded)
		arm_all(enabled);
	mutex_unlock(&arming);
	return ret;
}

static const struct kernel_param_ops enabled_ops = { .set = set_enabled, .get = param_get_bool };
module_param_cb(enabled, &enabled_ops, &enabled, 0644);
MODULE_PARM_DESC(enabled, "Probe videobuf2; without, the module costs nothing");

/* Modules with probed functions load and unload. */
static int on_module(struct notifier_block *nb, unsigned long event, void *data)
{
	unsigned int i;

	mutex_lock(&arming);
	for (i = 0; i < ARRAY_SIZE(probes) && is_loaded && enabled; i++) {
		struct probe *p = &probes[i];

		if (event == MODULE_STATE_COMING) {
			arm(p);
		} else if (event == MODULE_STATE_GOING && p->is_armed &&
			   within_module((unsigned long)p->rp.kp.addr, data)) {
			disarm(p);
			if (p->allocator != NO_ALLOCATOR)
				why_forget(p->allocator);
		}
	}
	mutex_unlock(&arming);
	return NOTIFY_DONE;
}

static struct notifier_block modules = { .notifier_call = on_module };

/* debugfs. */

static int refusals_show(struct seq_file *file, void *unused)
{
	u64 at, end = READ_ONCE(refusals_made);

	for (at = end > REFUSALS ? end - REFUSALS : 0; at < end; at++) {
		unsigned long flags;
		struct refusal r;

		raw_spin_lock_irqsave(&lock, flags);
		r = refusals[at % REFUSALS];
		raw_spin_unlock_irqrestore(&lock, flags);
		seq_printf(file, "%llu %s, %s[%d], %llu s ago: %s, %s: wanted %llu, found %llu",
			   at + 1, r.device, r.comm, r.pid,
			   div_u64(ktime_get_mono_fast_ns() - r.at_ns, NSEC_PER_SEC), r.what,
			   r.constraint, r.wanted, r.found);
		seq_printf(file, "%s%s, errno %d; would do: %s\n", r.note[0] ? ", " : "", r.note,
			   r.error, r.remedy);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(refusals);

static int buffers_show(struct seq_file *file, void *unused)
{
	return why_show_buffers(file, unused);
}
DEFINE_SHOW_ATTRIBUTE(buffers);

/* Lists the probes and their missed calls. A probe misses calls beyond 32 at a time. */
static int probes_show(struct seq_file *file, void *unused)
{
	unsigned int i;

	mutex_lock(&arming);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		seq_printf(file, "%s %s, missed %d\n", probes[i].symbol,
			   probes[i].is_armed ? "armed" : "off", probes[i].rp.nmissed);
	mutex_unlock(&arming);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(probes);

static struct dentry *dir;

static int __init why_init(void)
{
	int ret = register_module_notifier(&modules);

	if (ret)
		return ret;
	mutex_lock(&arming);
	is_loaded = true;
	arm_all(enabled);
	mutex_unlock(&arming);
	dir = debugfs_create_dir("vb2-why", NULL);
	debugfs_create_file("refusals", 0400, dir, NULL, &refusals_fops);
	debugfs_create_file("buffers", 0400, dir, NULL, &buffers_fops);
	debugfs_create_file("probes", 0400, dir, NULL, &probes_fops);
	return 0;
}

static void __exit why_exit(void)
{
	debugfs_remove(dir);
	unregister_module_notifier(&modules);
	mutex_lock(&arming);
	is_loaded = false;
	arm_all(false);
	mutex_unlock(&arming);
}

module_init(why_init);
module_exit(why_exit);

MODULE_DESCRIPTION("Why videobuf2 refused memory, and who holds its buffers");
MODULE_AUTHOR("videobuf3");
MODULE_LICENSE("GPL");
