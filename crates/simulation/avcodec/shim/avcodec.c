// SPDX-License-Identifier: MIT OR Apache-2.0
// Calls libavcodec 59 (FFmpeg 5.1, Debian 12) to 61 (FFmpeg 7.1, Debian 13).
#include "shim.h"

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

// Maximum number of pixels of a picture: more than the largest level of H.264 or HEVC allows.
#define MAX_PIXELS (16384LL * 8704)

struct vb3_av {
	AVCodecContext *context;
	AVPacket *packet;
	AVFrame *frame;
	// Whether pictures of 10 bits are wanted, too.
	int has_ten_bits;
	// How many packets the decoder works on at once.
	int depth;
	// Whether the decoder has warned of a fault.
	atomic_int has_warned;
	// Protects the next three fields, which threads of the decoder write (get_buffer).
	pthread_mutex_t lock;
	// Format of the last picture that the decoder allocated.
	struct vb3_av_format coming;
	int has_coming;
	enum AVPixelFormat pixels;
	// After vb3_av_keep_current: the current picture, and the decoder's own frame of this picture. That
	// frame lives as long as the decoder and has the picture's error flags (true of versions 59 to 61).
	AVFrame *current;
	const AVFrame *own;
	// Whether the last packet began the picture. The picture's second field may continue it, once.
	enum { NO_PICTURE, BEGUN, CONTINUED } progress;
	// Whether the decoder made up a reference for the picture.
	int lacks_reference;
};

// Finds the first decoder that needs no hardware. The library's own decoder of AV1 only parses for hardware; all
// others wrap another library.
static const AVCodec *find(const char *codec)
{
	const AVCodecDescriptor *wanted = avcodec_descriptor_get_by_name(codec);
	const AVCodec *found;
	void *at = NULL;
	if (!wanted)
		return NULL;
	while ((found = av_codec_iterate(&at))) {
		int is_one = av_codec_is_decoder(found) && found->id == wanted->id;
		int hardware = AV_CODEC_CAP_HARDWARE | AV_CODEC_CAP_HYBRID;
		if (!is_one || (found->capabilities & (hardware | AV_CODEC_CAP_EXPERIMENTAL)))
			continue;
		if (found->id != AV_CODEC_ID_AV1 || found->wrapper_name)
			return found;
	}
	return NULL;
}

uint32_t vb3_av_version(void)
{
	return avcodec_version();
}

const char *vb3_av_license(void)
{
	return avcodec_license();
}

const char *vb3_av_decoder(const char *codec)
{
	const AVCodec *found = find(codec);
	return found ? found->name : NULL;
}

static int is_planar420(const AVFrame *frame)
{
	return frame->format == AV_PIX_FMT_YUV420P || frame->format == AV_PIX_FMT_YUVJ420P;
}

static uint32_t sample_bytes(const struct vb3_av *av, const AVFrame *frame)
{
	if (is_planar420(frame))
		return 1;
	return av->has_ten_bits && frame->format == AV_PIX_FMT_YUV420P10LE ? 2 : 0;
}

static void describe(const struct vb3_av *av, const AVCodecContext *context, const AVFrame *frame,
		     struct vb3_av_format *f)
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
	f->sample_bytes = sample_bytes(av, frame);
	f->primaries = frame->color_primaries;
	f->transfer = frame->color_trc;
	f->matrix = frame->colorspace;
	f->full_range = frame->color_range == AVCOL_RANGE_JPEG || frame->format == AV_PIX_FMT_YUVJ420P;
	f->profile = context->profile;
	f->level = context->level;
}

// Keeps a reference to the memory of the begun picture.
static int keep(struct vb3_av *av, const AVFrame *frame)
{
	if (!av->current)
		return 0;
	// An HEVC picture is allocated before its missing references, an H.264 picture after them.
	if (av->context->codec_id == AV_CODEC_ID_HEVC && av->progress == BEGUN) {
		av->lacks_reference = 1;
		return 0;
	}
	av_frame_unref(av->current);
	av->own = frame;
	av->progress = BEGUN;
	return av_frame_ref(av->current, frame);
}

static int get_buffer(AVCodecContext *context, AVFrame *frame, int flags)
{
	int error;
	struct vb3_av *av = context->opaque;
	pthread_mutex_lock(&av->lock);
	describe(av, context, frame, &av->coming);
	// The library may crop the frame later, but the context already has the size.
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
	pthread_mutex_unlock(&av->lock);
	error = avcodec_default_get_buffer2(context, frame, flags);
	if (error < 0)
		return error;
	return keep(av, frame);
}

// Whether nudge() and the order of errors were checked for this version of the library.
static int is_known_version(void)
{
	unsigned major = avcodec_version() >> 16;
	return major >= 59 && major <= 61;
}

// Threads of the decoders of H.264 and HEVC work on several pictures at once (src/decoder/ahead.rs). All other
// threads share the work on one picture, so each picture leaves as soon as with one thread.
//
// H.264 has no threads that share one picture: with these, the library does not conceal errors (h264dec.c: "Error
// resilience with slice threads is unsafe").
static void use_threads(AVCodecContext *context, const AVCodec *codec, int threads)
{
	int is_h264 = codec->id == AV_CODEC_ID_H264;
	int by_frame = (is_h264 || codec->id == AV_CODEC_ID_HEVC) && is_known_version();
	context->thread_count = is_h264 && !by_frame ? 1 : threads;
	context->thread_type = by_frame ? FF_THREAD_FRAME : FF_THREAD_SLICE;
#if LIBAVCODEC_VERSION_MAJOR < 60
	// Later versions call get_buffer from any thread without asking.
	_Pragma("GCC diagnostic push");
	_Pragma("GCC diagnostic ignored \"-Wdeprecated-declarations\"");
	context->thread_safe_callbacks = 1;
	_Pragma("GCC diagnostic pop");
#endif
	// libdav1d would work on several pictures. libavcodec 59 has no option max_frame_delay to prevent that.
	if (codec->id == AV_CODEC_ID_AV1)
		context->flags |= AV_CODEC_FLAG_LOW_DELAY;
}

// Is called for each message of the library. Each thread of a decoder has a context of its own with the same `opaque`.
static void note(void *from, int level, const char *format, va_list values)
{
	const AVClass *class = from ? *(const AVClass **)from : NULL;
	const AVCodecContext *context = from;
	(void)values;
	// "concealing %d DC, ...": the number of errors that the decoder of H.264 conceals is only information.
	if ((level & 0xff) > AV_LOG_WARNING && strncmp(format, "concealing", 10))
		return;
	if (class == avcodec_get_class() && context->opaque)
		atomic_store(&((struct vb3_av *)context->opaque)->has_warned, 1);
}

struct vb3_av *vb3_av_open(const char *codec, int has_ten_bits, int threads)
{
	const AVCodec *found = find(codec);
	struct vb3_av *av = found ? av_mallocz(sizeof(*av)) : NULL;
	if (!av)
		return NULL;
	av_log_set_callback(note);
	pthread_mutex_init(&av->lock, NULL);
	av->pixels = AV_PIX_FMT_NONE;
	av->has_ten_bits = has_ten_bits;
	av->packet = av_packet_alloc();
	av->frame = av_frame_alloc();
	av->context = avcodec_alloc_context3(found);
	if (!av->packet || !av->frame || !av->context)
		goto failed;
	av->context->opaque = av;
	av->context->get_buffer2 = get_buffer;
	use_threads(av->context, found, threads);
	av->context->max_pixels = MAX_PIXELS;
	// The decoder then returns the whole picture and the exact edges of its visible part.
	av->context->apply_cropping = 0;
	// Pictures leave in the standard's order and time, not as soon as their order seems clear.
	av->context->strict_std_compliance = FF_COMPLIANCE_STRICT;
	if (avcodec_open2(av->context, found, NULL) < 0)
		goto failed;
	atomic_store(&av->has_warned, 0);
	av->depth = av->context->active_thread_type & FF_THREAD_FRAME ? av->context->thread_count : 1;
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
	av_frame_free(&av->current);
	pthread_mutex_destroy(&av->lock);
	av_free(av);
}

// Keeps the shown frame of an AV1 packet, which must have exactly one. AV1's library (libdav1d)
// allocates its pictures itself. With one thread, it returns the shown frame immediately.
static int keep_shown(struct vb3_av *av)
{
	int error;
	while ((error = avcodec_receive_frame(av->context, av->frame)) >= 0) {
		av_frame_unref(av->current);
		av_frame_move_ref(av->current, av->frame);
		av->own = av->current;
		av->pixels = av->current->format;
		av->progress = BEGUN;
	}
	if (error == AVERROR(EAGAIN) || error == AVERROR_EOF)
		return 0;
	av->progress = NO_PICTURE;
	return error;
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
	av->progress = av->progress == BEGUN && av->context->codec_id == AV_CODEC_ID_H264 ?
		CONTINUED : NO_PICTURE;
	av->lacks_reference = 0;
	error = avcodec_send_packet(av->context, av->packet);
	av_packet_unref(av->packet);
	if (error >= 0 && av->current && av->context->codec_id == AV_CODEC_ID_AV1)
		error = keep_shown(av);
	return error;
}

int vb3_av_depth(const struct vb3_av *av)
{
	return av->depth;
}

int vb3_av_nudge(struct vb3_av *av)
{
	// An access unit delimiter. The decoder of H.264 takes a packet without a picture for an error, unless it begins
	// with Q264.
	static const uint8_t H264[] = { 'Q', '2', '6', '4', 0, 0, 1, 9, 0xf0 };
	static const uint8_t HEVC[] = { 0, 0, 0, 1, 0x46, 1, 0x50 };
	int is_h264 = av->context->codec_id == AV_CODEC_ID_H264;
	return vb3_av_send(av, is_h264 ? H264 : HEVC, is_h264 ? sizeof(H264) : sizeof(HEVC), AV_NOPTS_VALUE);
}

int vb3_av_take_warning(struct vb3_av *av)
{
	return atomic_exchange(&av->has_warned, 0);
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

// Fills in the memory of a picture. Returns -1 if a plane has none.
static int show(const AVFrame *frame, struct vb3_av_picture *picture)
{
	int plane;
	if (!picture->format.sample_bytes)
		return 0;
	for (plane = 0; plane < 3; plane++) {
		int half = plane > 0;
		if (!frame->data[plane] || frame->linesize[plane] <= 0)
			return -1;
		picture->strides[plane] = frame->linesize[plane];
		picture->data[plane] = frame->data[plane] +
				       (size_t)(picture->format.top >> half) * frame->linesize[plane] +
				       (picture->format.left >> half) * picture->format.sample_bytes;
	}
	return 0;
}

int vb3_av_receive(struct vb3_av *av, struct vb3_av_picture *picture)
{
	AVFrame *frame = av->frame;
	int error = avcodec_receive_frame(av->context, frame);
	memset(picture, 0, sizeof(*picture));
	if (error == AVERROR(EAGAIN) || error == AVERROR_EOF)
		return 0;
	if (error < 0)
		return error;
	pthread_mutex_lock(&av->lock);
	av->has_coming = 0;
	av->pixels = frame->format;
	pthread_mutex_unlock(&av->lock);
	describe(av, av->context, frame, &picture->format);
	picture->number = frame->pts == AV_NOPTS_VALUE ? -1 : frame->pts;
	picture->damaged = (frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags;
	picture->interlaced = interlaced(frame);
	return show(frame, picture) < 0 ? AVERROR_BUG : 1;
}

int vb3_av_keep_current(struct vb3_av *av)
{
	av->current = av_frame_alloc();
	return av->current ? 0 : AVERROR(ENOMEM);
}

int vb3_av_current(const struct vb3_av *av, struct vb3_av_picture *picture)
{
	const AVFrame *frame = av->current;
	memset(picture, 0, sizeof(*picture));
	if (!frame || !frame->buf[0] || av->progress == NO_PICTURE)
		return 0;
	describe(av, av->context, frame, &picture->format);
	picture->number = -1;
	picture->damaged = av->lacks_reference || !av->own->buf[0] ||
			   av->own->buf[0]->data != frame->buf[0]->data ||
			   av->own->decode_error_flags;
	return show(frame, picture) < 0 ? 0 : 1;
}

void vb3_av_flush(struct vb3_av *av)
{
	avcodec_flush_buffers(av->context);
	if (av->current)
		av_frame_unref(av->current);
	av->progress = NO_PICTURE;
	av->has_coming = 0;
	atomic_store(&av->has_warned, 0);
}

void vb3_av_done(struct vb3_av *av)
{
	av_frame_unref(av->frame);
}

int vb3_av_coming(struct vb3_av *av, struct vb3_av_format *format)
{
	int has_coming;
	pthread_mutex_lock(&av->lock);
	*format = av->coming;
	has_coming = av->has_coming;
	pthread_mutex_unlock(&av->lock);
	return has_coming;
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
