// SPDX-License-Identifier: MIT OR Apache-2.0
// Calls libavcodec 59 (FFmpeg 5.1, Debian 12) to 61 (FFmpeg 7.1, Debian 13).
#include "shim.h"

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <string.h>

// Most pixels of a picture: those of H.264's and HEVC's largest level with room to spare.
#define MAX_PIXELS (16384LL * 8704)

struct vb3_av {
	AVCodecContext *context;
	AVPacket *packet;
	AVFrame *frame;
	// What the last picture is like for which the decoder took memory.
	struct vb3_av_format coming;
	int has_coming;
	enum AVPixelFormat pixels;
};

static const enum AVCodecID IDS[VB3_AV_CODECS] = {
	[VB3_AV_H264] = AV_CODEC_ID_H264,   [VB3_AV_HEVC] = AV_CODEC_ID_HEVC,
	[VB3_AV_VP8] = AV_CODEC_ID_VP8,     [VB3_AV_VP9] = AV_CODEC_ID_VP9,
	[VB3_AV_AV1] = AV_CODEC_ID_AV1,     [VB3_AV_MPEG2] = AV_CODEC_ID_MPEG2VIDEO,
	[VB3_AV_MPEG4] = AV_CODEC_ID_MPEG4,
};

static const AVCodec *find(uint32_t codec)
{
	return codec < VB3_AV_CODECS ? avcodec_find_decoder(IDS[codec]) : NULL;
}

uint32_t vb3_av_version(void)
{
	return avcodec_version();
}

const char *vb3_av_license(void)
{
	return avcodec_license();
}

const char *vb3_av_decoder(uint32_t codec)
{
	const AVCodec *found = find(codec);
	return found ? found->name : NULL;
}

static void describe(const AVCodecContext *context, const AVFrame *frame, struct vb3_av_format *f)
{
	size_t across = frame->crop_left + frame->crop_right;
	size_t down = frame->crop_top + frame->crop_bottom;
	memset(f, 0, sizeof(*f));
	f->coded_width = frame->width;
	f->coded_height = frame->height;
	f->width = frame->width;
	f->height = frame->height;
	if (across < (size_t)frame->width && down < (size_t)frame->height) {
		f->left = frame->crop_left;
		f->top = frame->crop_top;
		f->width -= across;
		f->height -= down;
	}
	f->planar420 = frame->format == AV_PIX_FMT_YUV420P || frame->format == AV_PIX_FMT_YUVJ420P;
	f->primaries = frame->color_primaries;
	f->transfer = frame->color_trc;
	f->matrix = frame->colorspace;
	f->full_range = frame->color_range == AVCOL_RANGE_JPEG || frame->format == AV_PIX_FMT_YUVJ420P;
	f->profile = context->profile;
	f->level = context->level;
	f->held_back = context->has_b_frames > 0 ? context->has_b_frames : 0;
}

static int get_buffer(AVCodecContext *context, AVFrame *frame, int flags)
{
	struct vb3_av *av = context->opaque;
	describe(context, frame, &av->coming);
	// Cropping may be put into the frame later, while the context knows the size already.
	if (context->width > 0 && context->height > 0 &&
	    context->width <= frame->width && context->height <= frame->height) {
		av->coming.width = context->width;
		av->coming.height = context->height;
	}
	if (context->coded_width > 0 && context->coded_height > 0) {
		av->coming.coded_width = context->coded_width;
		av->coming.coded_height = context->coded_height;
	}
	av->pixels = frame->format;
	av->has_coming = 1;
	return avcodec_default_get_buffer2(context, frame, flags);
}

struct vb3_av *vb3_av_open(uint32_t codec)
{
	const AVCodec *found = find(codec);
	struct vb3_av *av = found ? av_mallocz(sizeof(*av)) : NULL;
	if (!av)
		return NULL;
	av_log_set_level(AV_LOG_QUIET);
	av->pixels = AV_PIX_FMT_NONE;
	av->packet = av_packet_alloc();
	av->frame = av_frame_alloc();
	av->context = avcodec_alloc_context3(found);
	if (!av->packet || !av->frame || !av->context)
		goto failed;
	av->context->opaque = av;
	av->context->get_buffer2 = get_buffer;
	av->context->thread_count = 1;
	av->context->max_pixels = MAX_PIXELS;
	// The whole picture comes, with what is to be shown of it: its left edge is the stream's.
	av->context->apply_cropping = 0;
	// Pictures leave when the standard says, not as soon as they seem to be in order.
	av->context->strict_std_compliance = FF_COMPLIANCE_STRICT;
	if (avcodec_open2(av->context, found, NULL) < 0)
		goto failed;
	return av;
failed:
	vb3_av_close(av);
	return NULL;
}

void vb3_av_close(struct vb3_av *av)
{
	avcodec_free_context(&av->context);
	av_packet_free(&av->packet);
	av_frame_free(&av->frame);
	av_free(av);
}

int vb3_av_send(struct vb3_av *av, const uint8_t *data, size_t len, int64_t number)
{
	int error;
	if (!len)
		return avcodec_send_packet(av->context, NULL);
	if (len > INT32_MAX - AV_INPUT_BUFFER_PADDING_SIZE)
		return AVERROR(EINVAL);
	error = av_new_packet(av->packet, (int)len);
	if (error < 0)
		return error;
	memcpy(av->packet->data, data, len);
	av->packet->pts = number;
	error = avcodec_send_packet(av->context, av->packet);
	av_packet_unref(av->packet);
	return error;
}

static uint32_t interlaced(const AVFrame *frame)
{
#if LIBAVUTIL_VERSION_MAJOR >= 58
	int fields = !!(frame->flags & AV_FRAME_FLAG_INTERLACED);
	int top_first = !!(frame->flags & AV_FRAME_FLAG_TOP_FIELD_FIRST);
#else
	int fields = frame->interlaced_frame;
	int top_first = frame->top_field_first;
#endif
	return !fields ? 0 : top_first ? 1 : 2;
}

int vb3_av_receive(struct vb3_av *av, struct vb3_av_picture *picture)
{
	AVFrame *frame = av->frame;
	int plane;
	int error = avcodec_receive_frame(av->context, frame);
	memset(picture, 0, sizeof(*picture));
	if (error == AVERROR(EAGAIN) || error == AVERROR_EOF)
		return 0;
	if (error < 0)
		return error;
	av->has_coming = 0;
	av->pixels = frame->format;
	describe(av->context, frame, &picture->format);
	picture->number = frame->pts == AV_NOPTS_VALUE ? -1 : frame->pts;
	picture->damaged = (frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags;
	picture->interlaced = interlaced(frame);
	if (!picture->format.planar420)
		return 1;
	for (plane = 0; plane < 3; plane++) {
		int half = plane > 0;
		if (!frame->data[plane] || frame->linesize[plane] <= 0)
			return AVERROR_BUG;
		picture->strides[plane] = frame->linesize[plane];
		picture->data[plane] = frame->data[plane] +
				       (size_t)(picture->format.top >> half) * frame->linesize[plane] +
				       (picture->format.left >> half);
	}
	return 1;
}

void vb3_av_flush(struct vb3_av *av)
{
	avcodec_flush_buffers(av->context);
	av->has_coming = 0;
}

int vb3_av_coming(const struct vb3_av *av, struct vb3_av_format *format)
{
	*format = av->coming;
	return av->has_coming;
}

void vb3_av_error(int error, char *text, size_t len)
{
	if (len && av_strerror(error, text, len) < 0)
		strncpy(text, "unknown error", len - 1);
	if (len)
		text[len - 1] = 0;
}

const char *vb3_av_pixels(const struct vb3_av *av)
{
	const char *name = av_get_pix_fmt_name(av->pixels);
	return name ? name : "unknown";
}
