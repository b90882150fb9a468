// SPDX-License-Identifier: MIT OR Apache-2.0
// Encodes VP8 by libavcodec's wrapper of libvpx (BSD-3-Clause). Encodes H.264 and HEVC by libavcodec's
// wrappers of x264 and x265 (both GPL-2.0-or-later); only a libavcodec built under the GPL has these.
#include "shim.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <limits.h>
#include <stdio.h>

struct vb3_av_encoder {
	AVCodecContext *context;
	AVPacket *packet;
	AVFrame *frame;
};

static const char *const NAMES[VB3_AV_ENCODERS] = {
	[VB3_AV_VP8_ENCODER] = "libvpx",
	[VB3_AV_HEVC_ENCODER] = "libx265",
	[VB3_AV_H264_ENCODER] = "libx264",
};

static const AVCodec *find(uint32_t codec)
{
	return codec < VB3_AV_ENCODERS ? avcodec_find_encoder_by_name(NAMES[codec]) : NULL;
}

const char *vb3_av_encoder(const char *name)
{
	const AVCodec *found = avcodec_find_encoder_by_name(name);
	return found ? found->name : NULL;
}

// Each picture yields one packet immediately, and the same packet on every machine. So there is no
// look-ahead and no invisible frame. The effort does not depend on the time left, because cpu-used is
// negative.
static int set_up_vp8(AVCodecContext *context, const struct vb3_av_settings *s)
{
	if (s->constant)
		context->rc_min_rate = context->rc_max_rate = s->bitrate;
	context->gop_size = (int)s->gop;
	context->profile = (int)s->profile;
	context->qmin = (int)s->least_quantizer;
	context->qmax = (int)s->greatest_quantizer;
	return av_opt_set(context->priv_data, "deadline", "realtime", 0) < 0 ||
	       av_opt_set_int(context->priv_data, "cpu-used", -4, 0) < 0 ||
	       av_opt_set_int(context->priv_data, "lag-in-frames", 0, 0) < 0 ||
	       av_opt_set_int(context->priv_data, "auto-alt-ref", 0, 0) < 0;
}

static void set_colours(AVCodecContext *context, const struct vb3_av_settings *s)
{
	context->color_primaries = s->primaries;
	context->color_trc = s->transfer;
	context->colorspace = s->matrix;
	context->color_range = s->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
}

// x264 changes the bitrate within a stream only if its rate buffer was on from the start. The buffer
// holds one second.
static void set_h264_bitrate(AVCodecContext *context, uint32_t bitrate)
{
	context->bit_rate = context->rc_max_rate = bitrate;
	context->rc_buffer_size = bitrate > INT_MAX ? INT_MAX : (int)bitrate;
}

// Each picture yields one packet immediately, as above.
static int set_up_h264(AVCodecContext *context, const struct vb3_av_settings *s)
{
	static const char *const PROFILES[] = { "baseline", "main", "high" };
	char text[100];
	int len = snprintf(text, sizeof(text), "scenecut=0:min-keyint=1:keyint=%d", (int)s->gop);
	if (s->profile >= sizeof(PROFILES) / sizeof(*PROFILES))
		return 1;
	if (s->level)
		snprintf(text + len, sizeof(text) - len, ":level=%u", s->level);
	set_colours(context, s);
	set_h264_bitrate(context, s->bitrate);
	return av_opt_set(context->priv_data, "preset", "superfast", 0) < 0 ||
	       av_opt_set(context->priv_data, "tune", "zerolatency", 0) < 0 ||
	       av_opt_set(context->priv_data, "profile", PROFILES[s->profile], 0) < 0 ||
	       av_opt_set_int(context->priv_data, "forced-idr", 1, 0) < 0 ||
	       av_opt_set(context->priv_data, "x264-params", text, 0) < 0;
}

// The same settings for HEVC: one thread codes, without a thread pool. The library derives the tier
// from the highest rate (vbv-maxrate), and prints nothing on standard error.
static int set_up_hevc(AVCodecContext *context, const struct vb3_av_settings *s)
{
	char text[400];
	unsigned most = s->constant ? (s->bitrate + 999) / 1000 : s->most_kilobits;
	set_colours(context, s);
	snprintf(text, sizeof(text),
		 "log-level=none:pools=none:frame-threads=1:wpp=0:repeat-headers=1:info=0:open-gop=0:"
		 "scenecut=0:min-keyint=1:keyint=%d:level-idc=%u:vbv-maxrate=%u:vbv-bufsize=%u:"
		 "qpmin=%u:qpmax=%u",
		 (int)s->gop, s->level, most, most, s->least_quantizer, s->greatest_quantizer);
	return av_opt_set(context->priv_data, "preset", "superfast", 0) < 0 ||
	       av_opt_set(context->priv_data, "tune", "zerolatency", 0) < 0 ||
	       av_opt_set_int(context->priv_data, "forced-idr", 1, 0) < 0 ||
	       av_opt_set(context->priv_data, "x265-params", text, 0) < 0;
}

static int set_up(AVCodecContext *context, const struct vb3_av_settings *s)
{
	context->width = (int)s->width;
	context->height = (int)s->height;
	context->pix_fmt = AV_PIX_FMT_YUV420P;
	context->time_base = (AVRational){ (int)s->seconds, (int)s->frames };
	context->framerate = (AVRational){ (int)s->frames, (int)s->seconds };
	context->bit_rate = s->bitrate;
	context->thread_count = 1;
	switch (s->codec) {
	case VB3_AV_H264_ENCODER:
		return set_up_h264(context, s);
	case VB3_AV_HEVC_ENCODER:
		return set_up_hevc(context, s);
	default:
		return set_up_vp8(context, s);
	}
}

struct vb3_av_encoder *vb3_av_encoder_open(const struct vb3_av_settings *settings)
{
	const AVCodec *found = find(settings->codec);
	struct vb3_av_encoder *av = found ? av_mallocz(sizeof(*av)) : NULL;
	if (!av)
		return NULL;
	av_log_set_level(AV_LOG_QUIET);
	av->packet = av_packet_alloc();
	av->frame = av_frame_alloc();
	av->context = avcodec_alloc_context3(found);
	if (!av->packet || !av->frame || !av->context || set_up(av->context, settings) ||
	    avcodec_open2(av->context, found, NULL) < 0) {
		vb3_av_encoder_close(av);
		return NULL;
	}
	return av;
}

void vb3_av_encoder_close(struct vb3_av_encoder *av)
{
	avcodec_free_context(&av->context);
	av_packet_free(&av->packet);
	av_frame_free(&av->frame);
	av_free(av);
}

void vb3_av_set_bitrate(struct vb3_av_encoder *av, uint32_t bitrate)
{
	set_h264_bitrate(av->context, bitrate);
}

int vb3_av_encode(struct vb3_av_encoder *av, const uint8_t *const planes[3],
		  const size_t strides[3], int64_t number, int force_key)
{
	AVFrame *frame = av->frame;
	int error, plane;
	// The picture has no reference count, so the library copies it before the call returns.
	for (plane = 0; plane < 3; plane++) {
		frame->data[plane] = (uint8_t *)planes[plane];
		frame->linesize[plane] = (int)strides[plane];
	}
	frame->extended_data = frame->data;
	frame->format = av->context->pix_fmt;
	frame->width = av->context->width;
	frame->height = av->context->height;
	frame->pts = number;
	frame->pict_type = force_key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
	error = avcodec_send_frame(av->context, frame);
	av_frame_unref(frame);
	return error;
}

int vb3_av_packet(struct vb3_av_encoder *av, struct vb3_av_packet *packet)
{
	int error = avcodec_receive_packet(av->context, av->packet);
	if (error == AVERROR(EAGAIN) || error == AVERROR_EOF)
		return 0;
	if (error < 0)
		return error;
	packet->data = av->packet->data;
	packet->len = (size_t)av->packet->size;
	packet->key = !!(av->packet->flags & AV_PKT_FLAG_KEY);
	return 1;
}
