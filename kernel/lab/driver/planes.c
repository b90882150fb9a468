// SPDX-License-Identifier: GPL-2.0-only
/*
 * A capture device with two engines, which are devices, too. Each of the two planes is allocated for
 * one engine, through alloc_devs. vb3near reaches the lowest 4 GiB, vb3wide all memory; neither is
 * behind an IOMMU. The first plane is near's at the node vb3planes, and wide's at the node
 * vb3crossed. The queues' own device is wide.
 *
 * The CPU does the "DMA". Like a device, it fills the memory at a plane's DMA address, which is the
 * buffer or a bounce slot. It refuses addresses beyond the engine's mask.
 */
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include <media/v4l2-device.h>
#include <media/v4l2-dev.h>
#include <media/v4l2-ioctl.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-v4l2.h>

#include "planes.h"

enum { NEAR, WIDE, ENGINES };

static const char *const engine_name[ENGINES] = { "vb3near", "vb3wide" };
static const u64 engine_mask[ENGINES] = { DMA_BIT_MASK(32), DMA_BIT_MASK(64) };
static struct platform_device *engine[ENGINES];

/* DMA addresses of the planes of the buffer that was filled last, for the test program. */
static unsigned long long at[PLANES];
module_param_array(at, ullong, NULL, 0444);

/* References to vb3near, for a test of leaks. */
static int get_references(char *text, const struct kernel_param *param)
{
	return sysfs_emit(text, "%u\n", kref_read(&engine[NEAR]->dev.kobj.kref));
}

static const struct kernel_param_ops references_ops = { .get = get_references };
module_param_cb(references, &references_ops, NULL, 0444);

struct camera {
	struct v4l2_device v4l2;
	struct video_device video;
	struct mutex lock;
	struct vb2_queue queue;
	int engine[PLANES];
	u32 bytes[PLANES];
	u32 sequence;
};

static struct camera cameras[2];

/* Fills a plane as the plane's engine would. */
static int fill(struct camera *cam, struct vb2_buffer *vb, int plane)
{
	struct device *dev = &engine[cam->engine[plane]]->dev;
	dma_addr_t addr = vb2_dma_contig_plane_dma_addr(vb, plane);
	u32 bytes = cam->bytes[plane];
	void *view;

	at[plane] = addr;
	if (addr + bytes - 1 > dma_get_mask(dev))
		return -EIO;
	view = memremap(dma_to_phys(dev, addr), bytes, MEMREMAP_WB);
	if (!view)
		return -EIO;
	memset(view, PLANES_BYTE(cam->engine[plane], cam->sequence), bytes);
	memunmap(view);
	return 0;
}

static int queue_setup(struct vb2_queue *q, unsigned int *buffers, unsigned int *planes,
		       unsigned int sizes[], struct device *devs[])
{
	struct camera *cam = vb2_get_drv_priv(q);
	int i;

	if (*planes && *planes != PLANES)
		return -EINVAL;
	for (i = 0; i < PLANES; i++) {
		if (*planes && sizes[i] < cam->bytes[i])
			return -EINVAL;
		if (!*planes)
			sizes[i] = cam->bytes[i];
		devs[i] = &engine[cam->engine[i]]->dev;
	}
	*planes = PLANES;
	return 0;
}

static int buf_prepare(struct vb2_buffer *vb)
{
	struct camera *cam = vb2_get_drv_priv(vb->vb2_queue);
	int i;

	for (i = 0; i < PLANES; i++) {
		if (vb2_plane_size(vb, i) < cam->bytes[i])
			return -EINVAL;
		vb2_set_plane_payload(vb, i, cam->bytes[i]);
	}
	return 0;
}

static void buf_queue(struct vb2_buffer *vb)
{
	struct camera *cam = vb2_get_drv_priv(vb->vb2_queue);
	struct vb2_v4l2_buffer *buf = to_vb2_v4l2_buffer(vb);
	int i, ret = 0;

	for (i = 0; i < PLANES && !ret; i++)
		ret = fill(cam, vb, i);
	buf->sequence = cam->sequence++;
	buf->field = V4L2_FIELD_NONE;
	vb2_buffer_done(vb, ret ? VB2_BUF_STATE_ERROR : VB2_BUF_STATE_DONE);
}

static int start_streaming(struct vb2_queue *q, unsigned int count)
{
	struct camera *cam = vb2_get_drv_priv(q);

	cam->sequence = 0;
	return 0;
}

static const struct vb2_ops queue_ops = {
	.queue_setup = queue_setup,
	.buf_prepare = buf_prepare,
	.buf_queue = buf_queue,
	.start_streaming = start_streaming,
	/* The driver keeps no buffers, so it needs no stop_streaming. */
};

static int querycap(struct file *file, void *fh, struct v4l2_capability *cap)
{
	strscpy(cap->driver, "vb3planes", sizeof(cap->driver));
	strscpy(cap->card, "planes", sizeof(cap->card));
	return 0;
}

static int enum_fmt(struct file *file, void *fh, struct v4l2_fmtdesc *f)
{
	if (f->index)
		return -EINVAL;
	f->pixelformat = V4L2_PIX_FMT_NV12M;
	return 0;
}

static int g_fmt(struct file *file, void *fh, struct v4l2_format *f)
{
	struct camera *cam = video_drvdata(file);
	struct v4l2_pix_format_mplane *pix = &f->fmt.pix_mp;
	int i;

	memset(pix, 0, sizeof(*pix));
	pix->width = cam->bytes[0];
	pix->height = 1;
	pix->pixelformat = V4L2_PIX_FMT_NV12M;
	pix->field = V4L2_FIELD_NONE;
	pix->colorspace = V4L2_COLORSPACE_SRGB;
	pix->num_planes = PLANES;
	for (i = 0; i < PLANES; i++)
		pix->plane_fmt[i].sizeimage = pix->plane_fmt[i].bytesperline = cam->bytes[i];
	return 0;
}

/* Only the planes' sizes can be set. */
static int s_fmt(struct file *file, void *fh, struct v4l2_format *f)
{
	struct camera *cam = video_drvdata(file);
	int i;

	if (vb2_is_busy(&cam->queue))
		return -EBUSY;
	for (i = 0; i < PLANES; i++)
		cam->bytes[i] = clamp(f->fmt.pix_mp.plane_fmt[i].sizeimage, 1u, 0xfffff000u);
	return g_fmt(file, fh, f);
}

static const struct v4l2_ioctl_ops ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_enum_fmt_vid_cap = enum_fmt,
	.vidioc_g_fmt_vid_cap_mplane = g_fmt,
	.vidioc_try_fmt_vid_cap_mplane = g_fmt,
	.vidioc_s_fmt_vid_cap_mplane = s_fmt,
	.vidioc_reqbufs = vb2_ioctl_reqbufs,
	.vidioc_create_bufs = vb2_ioctl_create_bufs,
	.vidioc_querybuf = vb2_ioctl_querybuf,
	.vidioc_prepare_buf = vb2_ioctl_prepare_buf,
	.vidioc_qbuf = vb2_ioctl_qbuf,
	.vidioc_dqbuf = vb2_ioctl_dqbuf,
	.vidioc_expbuf = vb2_ioctl_expbuf,
	.vidioc_streamon = vb2_ioctl_streamon,
	.vidioc_streamoff = vb2_ioctl_streamoff,
};

static const struct v4l2_file_operations fops = {
	.owner = THIS_MODULE,
	.open = v4l2_fh_open,
	.release = vb2_fop_release,
	.unlocked_ioctl = video_ioctl2,
	.mmap = vb2_fop_mmap,
	.poll = vb2_fop_poll,
};

static int init_queue(struct camera *cam)
{
	struct vb2_queue *q = &cam->queue;

	memset(q, 0, sizeof(*q));
	q->type = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
	q->io_modes = VB2_MMAP | VB2_USERPTR | VB2_DMABUF;
	q->drv_priv = cam;
	q->buf_struct_size = sizeof(struct vb2_v4l2_buffer);
	q->ops = &queue_ops;
	q->mem_ops = &vb2_dma_contig_memops;
	q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
	q->lock = &cam->lock;
	q->dev = &engine[WIDE]->dev;
	q->allow_cache_hints = 1;
	return vb2_queue_init(q);
}

static int show(struct camera *cam, const char *name, int first)
{
	struct video_device *video = &cam->video;
	int ret, i;

	mutex_init(&cam->lock);
	for (i = 0; i < PLANES; i++) {
		cam->engine[i] = i ? !first : first;
		cam->bytes[i] = 65536;
	}
	/* The engines have no driver, so the V4L2 device has no parent, and needs a name of its own. */
	strscpy(cam->v4l2.name, name, sizeof(cam->v4l2.name));
	ret = init_queue(cam);
	if (!ret)
		ret = v4l2_device_register(NULL, &cam->v4l2);
	if (ret)
		return ret;
	strscpy(video->name, name, sizeof(video->name));
	video->fops = &fops;
	video->ioctl_ops = &ioctl_ops;
	video->release = video_device_release_empty;
	video->v4l2_dev = &cam->v4l2;
	video->lock = &cam->lock;
	video->queue = &cam->queue;
	video->vfl_dir = VFL_DIR_RX;
	video->device_caps = V4L2_CAP_VIDEO_CAPTURE_MPLANE | V4L2_CAP_STREAMING;
	video_set_drvdata(video, cam);
	ret = video_register_device(video, VFL_TYPE_VIDEO, -1);
	if (ret)
		v4l2_device_unregister(&cam->v4l2);
	return ret;
}

static void hide(struct camera *cam)
{
	vb2_video_unregister_device(&cam->video);
	v4l2_device_unregister(&cam->v4l2);
}

static void stop_engines(void)
{
	int i;

	for (i = 0; i < ENGINES; i++)
		if (!IS_ERR_OR_NULL(engine[i]))
			platform_device_unregister(engine[i]);
}

static int start_engines(void)
{
	int i, ret = 0;

	for (i = 0; i < ENGINES && !ret; i++) {
		engine[i] = platform_device_register_simple(engine_name[i], PLATFORM_DEVID_NONE,
							    NULL, 0);
		ret = PTR_ERR_OR_ZERO(engine[i]);
		if (!ret)
			ret = dma_set_mask_and_coherent(&engine[i]->dev, engine_mask[i]);
		if (!ret)
			vb2_dma_contig_set_max_seg_size(&engine[i]->dev, UINT_MAX);
	}
	if (ret)
		stop_engines();
	return ret;
}

static int __init planes_init(void)
{
	int ret = start_engines();

	if (ret)
		return ret;
	ret = show(&cameras[0], "vb3planes", NEAR);
	if (ret)
		goto stop;
	ret = show(&cameras[1], "vb3crossed", WIDE);
	if (!ret)
		return 0;
	hide(&cameras[0]);
stop:
	stop_engines();
	return ret;
}

static void __exit planes_exit(void)
{
	hide(&cameras[1]);
	hide(&cameras[0]);
	stop_engines();
}

module_init(planes_init);
module_exit(planes_exit);

MODULE_DESCRIPTION("A V4L2 device whose planes are of two devices, for tests");
MODULE_AUTHOR("videobuf3");
MODULE_LICENSE("GPL");
