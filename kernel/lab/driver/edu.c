// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test driver: QEMU's edu device as a V4L2 memory-to-memory device over dma-contig.
 *
 * The device does real DMA, by an engine with a 28-bit mask and 4096 bytes of memory. Bytes go from
 * the OUTPUT buffer into the device, and from there into the CAPTURE buffer. A transfer takes 100 ms,
 * so only samples are copied, which are spread over the buffer. These parameters may be written at
 * any time:
 *   instant=1  completes at once without touching the memory, for measurements
 *   cpu=1      the driver copies all bytes through the kernel's mapping instead
 * The other parameters can be set only when the module is loaded: mask and boundary limit the device;
 * other= adds a node that allocates for another device, so that ours has something to import.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <media/v4l2-device.h>
#include <media/v4l2-dev.h>
#include <media/v4l2-fh.h>
#include <media/v4l2-ioctl.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-v4l2.h>
#include <media/videobuf2-vmalloc.h>

#include "pool.h"

#define EDU_MEMORY 0x40000
#define EDU_SRC 0x80
#define EDU_DST 0x88
#define EDU_COUNT 0x90
#define EDU_COMMAND 0x98
#define EDU_START BIT(0)
#define EDU_TO_RAM BIT(1)
/* Half of the memory, since some versions of QEMU refuse to transfer all of it at once. */
#define EDU_BYTES 2048
#define EDU_SAMPLES 4

static bool instant;
module_param(instant, bool, 0644);
static bool cpu;
module_param(cpu, bool, 0644);
static unsigned long attrs;
module_param(attrs, ulong, 0644);
MODULE_PARM_DESC(attrs, "dma_attrs of the queues, taken at REQBUFS");
static unsigned int gfp;
module_param(gfp, uint, 0644);
MODULE_PARM_DESC(gfp, "gfp_flags of the queues, taken at REQBUFS");
static unsigned long mask = DMA_BIT_MASK(28);
module_param(mask, ulong, 0444);
static unsigned long boundary;
module_param(boundary, ulong, 0444);
static bool untrusted;
module_param(untrusted, bool, 0444);
MODULE_PARM_DESC(untrusted, "whether the kernel bounces memory that shares a page with other memory");
static char *other = "";
module_param(other, charp, 0444);
MODULE_PARM_DESC(other, "pool, far or board: another device, for which a node vb3other allocates");
static char *region = "";
module_param(region, charp, 0444);
MODULE_PARM_DESC(region, "name of the memory region that the board's device gets");
static int other_error;
module_param(other_error, int, 0444);
MODULE_PARM_DESC(other_error, "errno with which making the board's device failed");
static unsigned long long other_at;
module_param(other_at, ullong, 0444);
MODULE_PARM_DESC(other_at, "address of the last buffer that vb3other allocated from dma-contig");
static char *other_memory = "contig";
module_param(other_memory, charp, 0444);
MODULE_PARM_DESC(other_memory, "contig or vmalloc: how vb3other allocates");

struct edu_buffer {
	struct vb2_v4l2_buffer vb;
	struct list_head list;
};

struct edu {
	struct edu *other;
	void __iomem *regs;		/* NULL: moves no bytes */
	struct v4l2_device v4l2;
	struct video_device video;
	struct mutex lock;
	struct vb2_queue queue[2];	/* OUTPUT, CAPTURE */
	struct list_head ready[2];
	spinlock_t ready_lock;
	u32 bytes;			/* of a frame */
	u32 sequence;
	struct work_struct work;
};

static int transfer(struct edu *edu, u64 src, u64 dst, u32 bytes, u32 command)
{
	int tries;

	lo_hi_writeq(src, edu->regs + EDU_SRC);
	lo_hi_writeq(dst, edu->regs + EDU_DST);
	lo_hi_writeq(bytes, edu->regs + EDU_COUNT);
	lo_hi_writeq(command | EDU_START, edu->regs + EDU_COMMAND);
	for (tries = 0; tries < 2000; tries++) {
		if (!(readl(edu->regs + EDU_COMMAND) & EDU_START))
			return 0;
		usleep_range(1000, 2000);
	}
	return -ETIMEDOUT;
}

/* While this is set, the driver holds the module of vmalloc. It refers to dma-contig's operations directly,
 * which holds that module. */
static const struct vb2_mem_ops *vmalloc_ops;

/* Moves a few bytes from one buffer through the device into the other. */
static int copy_chunk(struct edu *edu, struct vb2_buffer *src, struct vb2_buffer *dst, u32 at,
		      u32 chunk)
{
	dma_addr_t from = vb2_dma_contig_plane_dma_addr(src, 0) + at;
	dma_addr_t to = vb2_dma_contig_plane_dma_addr(dst, 0) + at;
	int ret = transfer(edu, from, EDU_MEMORY, chunk, 0);

	return ret ?: transfer(edu, EDU_MEMORY, to, chunk, EDU_TO_RAM);
}

static int copy_by_device(struct edu *edu, struct vb2_buffer *src, struct vb2_buffer *dst,
			  u32 bytes)
{
	u32 chunk = min_t(u32, bytes, EDU_BYTES);
	u32 i;

	if (!edu->regs)
		return -ENODEV;
	for (i = 0; i < EDU_SAMPLES; i++) {
		u32 at = div_u64((u64)(bytes - chunk) * i, EDU_SAMPLES - 1);
		int ret = copy_chunk(edu, src, dst, at, chunk);

		if (ret)
			return ret;
	}
	return 0;
}

static int copy_by_cpu(struct vb2_buffer *src, struct vb2_buffer *dst, u32 bytes)
{
	void *from = vb2_plane_vaddr(src, 0);
	void *to = vb2_plane_vaddr(dst, 0);

	if (!from || !to)
		return -EINVAL;
	memcpy(to, from, bytes);
	return 0;
}

static struct edu_buffer *first(struct edu *edu, int q)
{
	return list_first_entry_or_null(&edu->ready[q], struct edu_buffer, list);
}

static bool take_pair(struct edu *edu, struct edu_buffer *pair[2])
{
	unsigned long flags;
	int q;

	spin_lock_irqsave(&edu->ready_lock, flags);
	for (q = 0; q < 2; q++)
		pair[q] = first(edu, q);
	if (pair[0] && pair[1])
		for (q = 0; q < 2; q++)
			list_del(&pair[q]->list);
	spin_unlock_irqrestore(&edu->ready_lock, flags);
	return pair[0] && pair[1];
}

static void done(struct edu *edu, struct edu_buffer *buf, bool ok)
{
	buf->vb.sequence = edu->sequence;
	buf->vb.field = V4L2_FIELD_NONE;
	vb2_set_plane_payload(&buf->vb.vb2_buf, 0, edu->bytes);
	vb2_buffer_done(&buf->vb.vb2_buf, ok ? VB2_BUF_STATE_DONE : VB2_BUF_STATE_ERROR);
}

static void work(struct work_struct *at)
{
	struct edu *edu = container_of(at, struct edu, work);
	struct edu_buffer *pair[2];

	while (take_pair(edu, pair)) {
		struct vb2_buffer *src = &pair[0]->vb.vb2_buf;
		struct vb2_buffer *dst = &pair[1]->vb.vb2_buf;
		int ret;

		if (cpu)
			ret = copy_by_cpu(src, dst, edu->bytes);
		else
			ret = copy_by_device(edu, src, dst, edu->bytes);
		done(edu, pair[0], !ret);
		done(edu, pair[1], !ret);
		edu->sequence++;
	}
}

/* Queue operations. */

static int queue_setup(struct vb2_queue *q, unsigned int *buffers, unsigned int *planes,
		       unsigned int sizes[], struct device *devs[])
{
	struct edu *edu = vb2_get_drv_priv(q);

	if (*planes)
		return sizes[0] < edu->bytes ? -EINVAL : 0;
	*planes = 1;
	sizes[0] = edu->bytes;
	q->dma_attrs = attrs;
	q->gfp_flags = (__force gfp_t)gfp;
	return 0;
}

static int buf_init(struct vb2_buffer *vb)
{
	struct edu *edu = vb2_get_drv_priv(vb->vb2_queue);

	if (!edu->regs && vb->vb2_queue->mem_ops == &vb2_dma_contig_memops)
		other_at = vb2_dma_contig_plane_dma_addr(vb, 0);
	return 0;
}

static int buf_prepare(struct vb2_buffer *vb)
{
	struct edu *edu = vb2_get_drv_priv(vb->vb2_queue);

	if (vb2_plane_size(vb, 0) < edu->bytes)
		return -EINVAL;
	return 0;
}

static void buf_queue(struct vb2_buffer *vb)
{
	struct edu *edu = vb2_get_drv_priv(vb->vb2_queue);
	struct edu_buffer *buf = container_of(to_vb2_v4l2_buffer(vb), struct edu_buffer, vb);
	unsigned long flags;

	if (instant) {
		done(edu, buf, true);
		return;
	}
	spin_lock_irqsave(&edu->ready_lock, flags);
	list_add_tail(&buf->list, &edu->ready[vb->vb2_queue == &edu->queue[1]]);
	spin_unlock_irqrestore(&edu->ready_lock, flags);
	schedule_work(&edu->work);
}

static void stop_streaming(struct vb2_queue *q)
{
	struct edu *edu = vb2_get_drv_priv(q);
	struct list_head *list = &edu->ready[q == &edu->queue[1]];
	struct edu_buffer *buf;

	cancel_work_sync(&edu->work);
	while (true) {
		unsigned long flags;

		spin_lock_irqsave(&edu->ready_lock, flags);
		buf = list_first_entry_or_null(list, struct edu_buffer, list);
		if (buf)
			list_del(&buf->list);
		spin_unlock_irqrestore(&edu->ready_lock, flags);
		if (!buf)
			break;
		vb2_buffer_done(&buf->vb.vb2_buf, VB2_BUF_STATE_ERROR);
	}
}

static const struct vb2_ops edu_queue_ops = {
	.queue_setup = queue_setup,
	.buf_init = buf_init,
	.buf_prepare = buf_prepare,
	.buf_queue = buf_queue,
	.stop_streaming = stop_streaming,
};

/* ioctls: the same for both queues. */

static struct vb2_queue *queue_of(struct file *file, u32 type)
{
	struct edu *edu = video_drvdata(file);

	return &edu->queue[type == V4L2_BUF_TYPE_VIDEO_CAPTURE];
}

static int querycap(struct file *file, void *fh, struct v4l2_capability *cap)
{
	strscpy(cap->driver, "vb3edu", sizeof(cap->driver));
	strscpy(cap->card, "edu", sizeof(cap->card));
	return 0;
}

static int g_fmt(struct file *file, void *fh, struct v4l2_format *f)
{
	struct edu *edu = video_drvdata(file);

	f->fmt.pix = (struct v4l2_pix_format) {
		.width = edu->bytes,
		.height = 1,
		.pixelformat = V4L2_PIX_FMT_GREY,
		.field = V4L2_FIELD_NONE,
		.bytesperline = edu->bytes,
		.sizeimage = edu->bytes,
		.colorspace = V4L2_COLORSPACE_SRGB,
	};
	return 0;
}

/* The format has one number, the bytes in a frame: sizeimage. */
static int s_fmt(struct file *file, void *fh, struct v4l2_format *f)
{
	struct edu *edu = video_drvdata(file);

	if (vb2_is_busy(&edu->queue[0]) || vb2_is_busy(&edu->queue[1]))
		return -EBUSY;
	edu->bytes = clamp(f->fmt.pix.sizeimage, 1u, 0xfffff000u);
	return g_fmt(file, fh, f);
}

static int enum_fmt(struct file *file, void *fh, struct v4l2_fmtdesc *f)
{
	if (f->index)
		return -EINVAL;
	f->pixelformat = V4L2_PIX_FMT_GREY;
	return 0;
}

static int reqbufs(struct file *file, void *fh, struct v4l2_requestbuffers *p)
{
	return vb2_reqbufs(queue_of(file, p->type), p);
}

static int create_bufs(struct file *file, void *fh, struct v4l2_create_buffers *p)
{
	return vb2_create_bufs(queue_of(file, p->format.type), p);
}

static int querybuf(struct file *file, void *fh, struct v4l2_buffer *p)
{
	int ret = vb2_querybuf(queue_of(file, p->type), p);

	if (!ret && p->type == V4L2_BUF_TYPE_VIDEO_CAPTURE && p->memory == V4L2_MEMORY_MMAP)
		p->m.offset += BIT(30);
	return ret;
}

static int prepare_buf(struct file *file, void *fh, struct v4l2_buffer *p)
{
	return vb2_prepare_buf(queue_of(file, p->type), NULL, p);
}

static int qbuf(struct file *file, void *fh, struct v4l2_buffer *p)
{
	return vb2_qbuf(queue_of(file, p->type), NULL, p);
}

static int dqbuf(struct file *file, void *fh, struct v4l2_buffer *p)
{
	return vb2_dqbuf(queue_of(file, p->type), p, file->f_flags & O_NONBLOCK);
}

static int expbuf(struct file *file, void *fh, struct v4l2_exportbuffer *p)
{
	return vb2_expbuf(queue_of(file, p->type), p);
}

static int streamon(struct file *file, void *fh, enum v4l2_buf_type type)
{
	return vb2_streamon(queue_of(file, type), type);
}

static int streamoff(struct file *file, void *fh, enum v4l2_buf_type type)
{
	return vb2_streamoff(queue_of(file, type), type);
}

static const struct v4l2_ioctl_ops edu_ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_enum_fmt_vid_cap = enum_fmt,
	.vidioc_enum_fmt_vid_out = enum_fmt,
	.vidioc_g_fmt_vid_cap = g_fmt,
	.vidioc_g_fmt_vid_out = g_fmt,
	.vidioc_try_fmt_vid_cap = g_fmt,
	.vidioc_try_fmt_vid_out = g_fmt,
	.vidioc_s_fmt_vid_cap = s_fmt,
	.vidioc_s_fmt_vid_out = s_fmt,
	.vidioc_reqbufs = reqbufs,
	.vidioc_create_bufs = create_bufs,
	.vidioc_querybuf = querybuf,
	.vidioc_prepare_buf = prepare_buf,
	.vidioc_qbuf = qbuf,
	.vidioc_dqbuf = dqbuf,
	.vidioc_expbuf = expbuf,
	.vidioc_streamon = streamon,
	.vidioc_streamoff = streamoff,
};

/* The last handle's close frees all buffers. */
static int release(struct file *file)
{
	struct edu *edu = video_drvdata(file);
	int q;

	mutex_lock(&edu->lock);
	if (v4l2_fh_is_singular_file(file))
		for (q = 0; q < 2; q++)
			vb2_queue_release(&edu->queue[q]);
	mutex_unlock(&edu->lock);
	return v4l2_fh_release(file);
}

static int mmap(struct file *file, struct vm_area_struct *vma)
{
	struct edu *edu = video_drvdata(file);

	/* Queue 1's offsets begin at the middle, as in m2m devices. */
	if (vma->vm_pgoff >= BIT(30 - PAGE_SHIFT)) {
		vma->vm_pgoff -= BIT(30 - PAGE_SHIFT);
		return vb2_mmap(&edu->queue[1], vma);
	}
	return vb2_mmap(&edu->queue[0], vma);
}

static __poll_t poll(struct file *file, poll_table *wait)
{
	struct edu *edu = video_drvdata(file);

	return vb2_poll(&edu->queue[0], file, wait) | vb2_poll(&edu->queue[1], file, wait);
}

static const struct v4l2_file_operations edu_fops = {
	.owner = THIS_MODULE,
	.open = v4l2_fh_open,
	.release = release,
	.unlocked_ioctl = video_ioctl2,
	.mmap = mmap,
	.poll = poll,
};

static int init_queue(struct edu *edu, int at, struct device *dev, const struct vb2_mem_ops *ops)
{
	struct vb2_queue *q = &edu->queue[at];

	INIT_LIST_HEAD(&edu->ready[at]);
	q->type = at ? V4L2_BUF_TYPE_VIDEO_CAPTURE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	q->io_modes = VB2_MMAP | VB2_USERPTR | VB2_DMABUF;
	q->drv_priv = edu;
	q->buf_struct_size = sizeof(struct edu_buffer);
	q->ops = &edu_queue_ops;
	q->mem_ops = ops;
	q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	q->lock = &edu->lock;
	q->dev = dev;
	q->allow_cache_hints = 1;
	return vb2_queue_init(q);
}

/* Makes the state of a node with its two queues, which allocate for `dev`. */
static struct edu *make(struct pci_dev *pci, struct device *dev, const struct vb2_mem_ops *ops)
{
	struct edu *edu = devm_kzalloc(&pci->dev, sizeof(*edu), GFP_KERNEL);
	int ret, i;

	if (!edu)
		return ERR_PTR(-ENOMEM);
	edu->bytes = 65536;
	mutex_init(&edu->lock);
	spin_lock_init(&edu->ready_lock);
	INIT_WORK(&edu->work, work);
	for (i = 0; i < 2; i++) {
		ret = init_queue(edu, i, dev, ops);
		if (ret)
			return ERR_PTR(ret);
	}
	return edu;
}

static int show(struct edu *edu, struct pci_dev *pci, const char *name)
{
	int ret = v4l2_device_register(&pci->dev, &edu->v4l2);

	if (ret)
		return ret;
	strscpy(edu->video.name, name, sizeof(edu->video.name));
	edu->video.fops = &edu_fops;
	edu->video.ioctl_ops = &edu_ioctl_ops;
	edu->video.release = video_device_release_empty;
	edu->video.v4l2_dev = &edu->v4l2;
	edu->video.lock = &edu->lock;
	edu->video.vfl_dir = VFL_DIR_M2M;
	edu->video.device_caps = V4L2_CAP_VIDEO_M2M | V4L2_CAP_STREAMING;
	video_set_drvdata(&edu->video, edu);
	ret = video_register_device(&edu->video, VFL_TYPE_VIDEO, -1);
	if (ret)
		v4l2_device_unregister(&edu->v4l2);
	return ret;
}

static void hide(struct edu *edu)
{
	int q;

	video_unregister_device(&edu->video);
	mutex_lock(&edu->lock);
	for (q = 0; q < 2; q++)
		vb2_queue_release(&edu->queue[q]);
	mutex_unlock(&edu->lock);
	v4l2_device_unregister(&edu->v4l2);
}

static void put_other(void)
{
	pool_close();
	if (vmalloc_ops)
		symbol_put(vb2_vmalloc_memops);
	vmalloc_ops = NULL;
}

/* A second node, vb3other, which allocates for another device and moves no bytes. */
static int show_other(struct edu *edu, struct pci_dev *pci)
{
	const struct vb2_mem_ops *ops = &vb2_dma_contig_memops;
	struct device *dev;
	int ret;

	if (!*other)
		return 0;
	if (!strcmp(other_memory, "vmalloc")) {
		ops = vmalloc_ops = symbol_get(vb2_vmalloc_memops);
		if (!ops)
			return -ENOENT;
	}
	if (!strcmp(other, "board")) {
		dev = board_open(region);
		other_error = -PTR_ERR_OR_ZERO(dev);
		/* Makes no node: no test needs one for an invalid region. */
		if (other_error) {
			put_other();
			return 0;
		}
	} else {
		dev = !strcmp(other, "pool") ? pool_open() : far_open();
	}
	edu->other = IS_ERR(dev) ? ERR_CAST(dev) : make(pci, dev, ops);
	ret = IS_ERR(edu->other) ? PTR_ERR(edu->other) : show(edu->other, pci, "vb3other");
	if (ret) {
		edu->other = NULL;
		put_other();
	}
	return ret;
}

static int probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct edu *edu;
	int ret;

	ret = pcim_enable_device(pci);
	if (ret)
		return ret;
	ret = dma_set_mask_and_coherent(&pci->dev, mask);
	if (ret)
		return ret;
	pci->untrusted = untrusted;
	pci_set_master(pci);
	vb2_dma_contig_set_max_seg_size(&pci->dev, UINT_MAX);
	if (boundary)
		dma_set_seg_boundary(&pci->dev, boundary);
	edu = make(pci, &pci->dev, &vb2_dma_contig_memops);
	if (IS_ERR(edu))
		return PTR_ERR(edu);
	edu->regs = pcim_iomap(pci, 0, 0);
	if (!edu->regs)
		return -ENOMEM;
	pci_set_drvdata(pci, edu);
	ret = show_other(edu, pci);
	if (ret)
		return ret;
	ret = show(edu, pci, "vb3edu");
	if (!ret)
		return 0;
	if (edu->other) {
		hide(edu->other);
		put_other();
	}
	return ret;
}

static void remove(struct pci_dev *pci)
{
	struct edu *edu = pci_get_drvdata(pci);

	hide(edu);
	if (edu->other)
		hide(edu->other);
	put_other();
	pci->untrusted = false;
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = "vb3edu",
	.id_table = edu_ids,
	.probe = probe,
	.remove = remove,
};
module_pci_driver(edu_driver);

MODULE_DESCRIPTION("QEMU's edu device as a V4L2 device, for tests");
MODULE_AUTHOR("videobuf3");
MODULE_LICENSE("GPL");
