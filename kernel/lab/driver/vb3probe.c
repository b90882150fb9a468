// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does for tests what no program can do: makes dma-bufs of chosen chunks, and calls the loaded
 * videobuf2-dma-contig in orders that show its defects. The device is edu.
 */
#include <linux/completion.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include <media/videobuf2-core.h>
#include <media/videobuf2-dma-contig.h>

#include "probe.h"

#define BYTES 65536

static struct pci_dev *edu;

/* dma-bufs of chosen chunks. */

struct chunks {
	unsigned int count;
	struct page *page[PROBE_CHUNKS];
	unsigned int order[PROBE_CHUNKS];
	/* Pages that separate chunks. */
	struct page *gap[PROBE_CHUNKS];
	/* Whether a map returns DMA address 0, without a real mapping. */
	bool at_zero;
	int attach_error, map_error;
	int maps, unmaps;
};

static int chunks_attach(struct dma_buf *buf, struct dma_buf_attachment *at)
{
	struct chunks *c = buf->priv;

	return -c->attach_error;
}

static struct sg_table *chunks_map(struct dma_buf_attachment *at, enum dma_data_direction direction)
{
	struct chunks *c = at->dmabuf->priv;
	struct sg_table *sgt;
	struct scatterlist *sg;
	unsigned int i;

	if (c->map_error)
		return ERR_PTR(-c->map_error);
	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt || sg_alloc_table(sgt, c->count, GFP_KERNEL)) {
		kfree(sgt);
		return ERR_PTR(-ENOMEM);
	}
	for_each_sgtable_sg(sgt, sg, i)
		sg_set_page(sg, c->page[i], PAGE_SIZE << c->order[i], 0);
	c->maps++;
	if (c->at_zero) {
		sg_dma_address(sgt->sgl) = 0;
		sg_dma_len(sgt->sgl) = sgt->sgl->length;
	} else if (dma_map_sgtable(at->dev, sgt, direction, 0)) {
		c->maps--;
		sg_free_table(sgt);
		kfree(sgt);
		return ERR_PTR(-EIO);
	}
	return sgt;
}

static void chunks_unmap(struct dma_buf_attachment *at, struct sg_table *sgt,
			 enum dma_data_direction direction)
{
	struct chunks *c = at->dmabuf->priv;

	c->unmaps++;
	if (!c->at_zero)
		dma_unmap_sgtable(at->dev, sgt, direction, 0);
	sg_free_table(sgt);
	kfree(sgt);
}

static int chunks_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	struct chunks *c = buf->priv;
	unsigned long at = vma->vm_start;
	unsigned int i;

	if (vma->vm_pgoff)
		return -EINVAL;
	for (i = 0; i < c->count && at < vma->vm_end; i++) {
		unsigned long size = min(PAGE_SIZE << c->order[i], vma->vm_end - at);
		int ret = remap_pfn_range(vma, at, page_to_pfn(c->page[i]), size,
					  vma->vm_page_prot);

		if (ret)
			return ret;
		at += size;
	}
	return 0;
}

static void chunks_free(struct chunks *c)
{
	unsigned int i;

	for (i = 0; i < c->count; i++) {
		if (c->page[i])
			__free_pages(c->page[i], c->order[i]);
		if (c->gap[i])
			__free_pages(c->gap[i], 0);
	}
	kfree(c);
}

static void chunks_release(struct dma_buf *buf)
{
	chunks_free(buf->priv);
}

static const struct dma_buf_ops chunks_ops = {
	.attach = chunks_attach,
	.map_dma_buf = chunks_map,
	.unmap_dma_buf = chunks_unmap,
	.mmap = chunks_mmap,
	.release = chunks_release,
};

static struct dma_buf *chunks_make(unsigned int count, const u8 *orders)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct chunks *c = kzalloc(sizeof(*c), GFP_KERNEL);
	struct dma_buf *buf;
	unsigned int i;

	if (!c)
		return ERR_PTR(-ENOMEM);
	c->count = count;
	for (i = 0; i < count; i++) {
		c->order[i] = orders[i];
		c->page[i] = alloc_pages(GFP_KERNEL | __GFP_ZERO, orders[i]);
		c->gap[i] = alloc_page(GFP_KERNEL);
		if (!c->page[i] || !c->gap[i]) {
			chunks_free(c);
			return ERR_PTR(-ENOMEM);
		}
		info.size += PAGE_SIZE << orders[i];
	}
	info.ops = &chunks_ops;
	info.flags = O_RDWR | O_CLOEXEC;
	info.priv = c;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf))
		chunks_free(c);
	return buf;
}

static long make(struct probe_make *p)
{
	struct dma_buf *buf;
	struct chunks *c;
	unsigned int i;

	if (!p->count || p->count > PROBE_CHUNKS)
		return -EINVAL;
	if (p->attach_error < 0 || p->attach_error > MAX_ERRNO || p->map_error < 0 ||
	    p->map_error > MAX_ERRNO)
		return -EINVAL;
	for (i = 0; i < p->count; i++)
		if (p->order[i] > MAX_PAGE_ORDER)
			return -EINVAL;
	buf = chunks_make(p->count, p->order);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	c = buf->priv;
	c->attach_error = p->attach_error;
	c->map_error = p->map_error;
	p->fd = dma_buf_fd(buf, O_RDWR | O_CLOEXEC);
	if (p->fd >= 0)
		return 0;
	dma_buf_put(buf);
	return p->fd;
}

/*
 * Maps one attachment of an exported buffer in one direction (`first`) and meanwhile in others. result[0]
 * is the errno of the others; result[1] is whether the first map's address is still mapped then; result[2]
 * is the errno of a map in another direction after all have ended.
 */
static long remap(struct probe_check *p)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&edu->dev);
	enum dma_data_direction first = p->first, direction;
	struct dma_buf *buf = dma_buf_get(p->fd);
	struct dma_buf_attachment *at;
	struct sg_table *one, *two;
	dma_addr_t addr;
	long ret = 0;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	at = dma_buf_attach(buf, &edu->dev);
	if (IS_ERR(at)) {
		ret = PTR_ERR(at);
		goto put;
	}
	one = dma_buf_map_attachment_unlocked(at, first);
	if (IS_ERR(one)) {
		ret = PTR_ERR(one);
		goto detach;
	}
	addr = sg_dma_address(one->sgl);
	p->result[1] = domain ? 1 : -1;
	for (direction = DMA_TO_DEVICE; direction <= DMA_FROM_DEVICE; direction++) {
		if (direction == first)
			continue;
		two = dma_buf_map_attachment_unlocked(at, direction);
		if (domain && !iommu_iova_to_phys(domain, addr))
			p->result[1] = 0;
		if (IS_ERR(two))
			p->result[0] = -PTR_ERR(two);
		else
			dma_buf_unmap_attachment_unlocked(at, two, direction);
	}
	dma_buf_unmap_attachment_unlocked(at, one, first);
	two = dma_buf_map_attachment_unlocked(at, DMA_FROM_DEVICE);
	if (IS_ERR(two))
		p->result[2] = -PTR_ERR(two);
	else
		dma_buf_unmap_attachment_unlocked(at, two, DMA_FROM_DEVICE);
detach:
	dma_buf_detach(buf, at);
put:
	dma_buf_put(buf);
	return ret;
}

/* A queue and a buffer with only the fields that an allocator reads. */
struct fake {
	struct vb2_queue queue;
	struct vb2_buffer buffer;
};

static struct fake *fake_make(void)
{
	struct fake *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (f) {
		f->queue.dma_dir = DMA_BIDIRECTIONAL;
		f->queue.mem_ops = &vb2_dma_contig_memops;
		f->buffer.vb2_queue = &f->queue;
	}
	return f;
}

struct racer {
	struct fake *fake;
	void *priv;
	atomic_t *waiting;
	void *saw;
	struct completion done;
};

static int race_one(void *arg)
{
	struct racer *r = arg;

	atomic_dec(r->waiting);
	while (atomic_read(r->waiting) > 0)
		cpu_relax();
	r->saw = r->fake->queue.mem_ops->vaddr(&r->fake->buffer, r->priv);
	complete(&r->done);
	return 0;
}

/* Two threads request the first kernel mapping of a non-coherent buffer. Repeats this with new buffers until
 * both threads get different mappings (result[0]), one of which leaks. result[1] counts failures. */
static long race(struct probe_check *p)
{
	struct fake *fake = fake_make();
	unsigned int round;
	long ret = 0;

	if (!fake)
		return -ENOMEM;
	fake->queue.non_coherent_mem = 1;
	for (round = 0; round < min(p->rounds, 10000u) && !p->result[0]; round++) {
		void *priv = fake->queue.mem_ops->alloc(&fake->buffer, &edu->dev, BYTES);
		atomic_t waiting = ATOMIC_INIT(2);
		struct racer racer[2];
		unsigned int i;

		if (IS_ERR_OR_NULL(priv)) {
			ret = -ENOMEM;
			break;
		}
		for (i = 0; i < 2; i++) {
			struct task_struct *thread;

			racer[i] = (struct racer){ .fake = fake, .priv = priv, .waiting = &waiting };
			init_completion(&racer[i].done);
			thread = kthread_run(race_one, &racer[i], "vb3race");
			if (IS_ERR(thread)) {
				atomic_dec(&waiting);
				complete(&racer[i].done);
			}
		}
		for (i = 0; i < 2; i++)
			wait_for_completion(&racer[i].done);
		p->result[0] += racer[0].saw != racer[1].saw;
		p->result[1] += !racer[0].saw || !racer[1].saw;
		fake->queue.mem_ops->put(priv);
	}
	kfree(fake);
	return ret;
}

/* Imports a buffer with DMA address 0, maps it, and detaches it while it is mapped. Some versions of
 * videobuf2's core leave the unmap to the allocator. result[0]: maps, [1]: unmaps. */
static long at_zero(struct probe_check *p)
{
	static const u8 order[] = { 4 };
	struct fake *fake = fake_make();
	struct dma_buf *buf = chunks_make(1, order);
	struct chunks *c;
	void *priv;
	long ret;

	if (!fake || IS_ERR(buf)) {
		ret = -ENOMEM;
		goto free;
	}
	c = buf->priv;
	c->at_zero = true;
	priv = fake->queue.mem_ops->attach_dmabuf(&fake->buffer, &edu->dev, buf, BYTES);
	if (IS_ERR(priv)) {
		ret = PTR_ERR(priv);
		goto put;
	}
	ret = fake->queue.mem_ops->map_dmabuf(priv);
	fake->queue.mem_ops->detach_dmabuf(priv);
	p->result[0] = c->maps;
	p->result[1] = c->unmaps;
put:
	dma_buf_put(buf);
free:
	kfree(fake);
	return ret;
}

static int freed;

static void note_freed(struct device *dev)
{
	freed++;
	kfree(dev);
}

static struct device *short_lived(void)
{
	struct device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (!dev)
		return NULL;
	device_initialize(dev);
	dev->release = note_freed;
	if (!dev_set_name(dev, "vb3gone"))
		return dev;
	put_device(dev);
	return NULL;
}

/*
 * Two devices are removed while buffers still use them: an importer's, and one attached to an export.
 * debugfs prints the names of both. result[0]: number of devices that are freed while the buffers
 * exist, [1]: number at the end.
 */
static long gone(struct probe_check *p)
{
	static const u8 order[] = { 4 };
	struct device *importer = short_lived(), *attached = short_lived();
	struct dma_buf *foreign = chunks_make(1, order), *own = dma_buf_get(p->fd);
	struct dma_buf_attachment *at;
	struct fake *fake = fake_make();
	long ret = -ENOMEM;
	void *priv;

	if (!importer || !attached || !fake || IS_ERR(foreign) || IS_ERR(own))
		goto free;
	priv = fake->queue.mem_ops->attach_dmabuf(&fake->buffer, importer, foreign, BYTES);
	at = dma_buf_attach(own, attached);
	freed = 0;
	put_device(importer);
	put_device(attached);
	importer = attached = NULL;
	p->result[0] = freed;
	if (!IS_ERR(priv))
		fake->queue.mem_ops->detach_dmabuf(priv);
	if (!IS_ERR(at))
		dma_buf_detach(own, at);
	p->result[1] = freed;
	ret = IS_ERR(priv) ? PTR_ERR(priv) : PTR_ERR_OR_ZERO(at);
free:
	put_device(importer);
	put_device(attached);
	if (!IS_ERR(foreign))
		dma_buf_put(foreign);
	if (!IS_ERR(own))
		dma_buf_put(own);
	kfree(fake);
	return ret;
}

/* Requests user memory of 0 bytes, which videobuf2's core never does. result[0] is the errno. */
static long empty(struct probe_check *p)
{
	struct fake *fake = fake_make();
	void *priv;

	if (!fake)
		return -ENOMEM;
	priv = fake->queue.mem_ops->get_userptr(&fake->buffer, &edu->dev, PAGE_SIZE, 0);
	p->result[0] = -PTR_ERR_OR_ZERO(priv);
	if (!IS_ERR(priv))
		fake->queue.mem_ops->put_userptr(priv);
	kfree(fake);
	return 0;
}

static LIST_HEAD(hoarded);

static void free_hoard(void)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &hoarded, lru) {
		list_del(&page->lru);
		__free_pages(page, MAX_PAGE_ORDER);
	}
}

/* Takes the largest free blocks, so that smaller ones remain. result[0] is their number. */
static long hoard(struct probe_check *p)
{
	struct page *page;

	free_hoard();
	while (p->rounds) {
		page = alloc_pages(GFP_DMA32 | GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, MAX_PAGE_ORDER);
		if (!page)
			break;
		list_add(&page->lru, &hoarded);
		p->result[0]++;
	}
	return 0;
}

static long probe_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct probe_make m;
	struct probe_check c;
	long ret;

	if (command == PROBE_MAKE) {
		if (copy_from_user(&m, user, sizeof(m)))
			return -EFAULT;
		ret = make(&m);
		return ret ?: copy_to_user(user, &m, sizeof(m)) ? -EFAULT : 0;
	}
	if (copy_from_user(&c, user, sizeof(c)))
		return -EFAULT;
	memset(c.result, 0, sizeof(c.result));
	switch (command) {
	case PROBE_REMAP:
		ret = remap(&c);
		break;
	case PROBE_RACE:
		ret = race(&c);
		break;
	case PROBE_ZERO:
		ret = at_zero(&c);
		break;
	case PROBE_GONE:
		ret = gone(&c);
		break;
	case PROBE_EMPTY:
		ret = empty(&c);
		break;
	case PROBE_HOARD:
		ret = hoard(&c);
		break;
	default:
		return -ENOTTY;
	}
	return ret ?: copy_to_user(user, &c, sizeof(c)) ? -EFAULT : 0;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = probe_ioctl,
};

static struct miscdevice probe_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vb3probe",
	.fops = &probe_fops,
};

static int __init probe_init(void)
{
	edu = pci_get_device(0x1234, 0x11e8, NULL);
	if (!edu)
		return -ENODEV;
	return misc_register(&probe_device);
}

static void __exit probe_exit(void)
{
	misc_deregister(&probe_device);
	free_hoard();
	pci_dev_put(edu);
}

module_init(probe_init);
module_exit(probe_exit);

MODULE_DESCRIPTION("Calls of videobuf2-dma-contig that no program can make, for tests");
MODULE_AUTHOR("videobuf3");
MODULE_LICENSE("GPL");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif
