// SPDX-License-Identifier: MIT OR Apache-2.0
// The functions that src/library.rs and src/encoders.rs call. They hide libavcodec: only the C code
// depends on its version.
#ifndef VB3_AVCODEC_SHIM_H
#define VB3_AVCODEC_SHIM_H

#include <stddef.h>
#include <stdint.h>

// Format of one picture, or of the pictures that follow.
struct vb3_av_format {
	uint32_t coded_width;
	uint32_t coded_height;
	// The visible part.
	uint32_t left;
	uint32_t top;
	uint32_t width;
	uint32_t height;
	// Bytes per sample of planar 4:2:0: 1, or 2 for 10 bits. 0 for all other formats, and for 10
	// bits if the codec's device supports only 8.
	uint32_t sample_bytes;
	// Code points of ITU-T H.273; full_range is 1 for full range.
	uint8_t primaries;
	uint8_t transfer;
	uint8_t matrix;
	uint8_t full_range;
	int32_t profile;
	int32_t level;
};

struct vb3_av_picture {
	struct vb3_av_format format;
	// Number of the picture's packet; negative if the library does not report it.
	int64_t number;
	// Y, U and V of the visible part.
	const uint8_t *data[3];
	size_t strides[3];
	// 1 if the decoder concealed missing parts.
	uint32_t damaged;
	// 0 progressive, 1 top field first, 2 bottom field first.
	uint32_t interlaced;
};

struct vb3_av;

// Returns the library's version as major << 16 | minor << 8 | micro, or 0 without the library.
uint32_t vb3_av_version(void);
// Returns the licence of the library's build, e.g. "LGPL version 2.1 or later".
const char *vb3_av_license(void);
// Returns the name of the decoder of a codec, such as "h264", or NULL without one.
const char *vb3_av_decoder(const char *codec);
// Opens a decoder with this many threads. Returns NULL if the library has no decoder of the codec, or if memory is
// short.
struct vb3_av *vb3_av_open(const char *codec, int has_ten_bits, int threads);
// Returns how many packets the decoder works on at once. If there are several, vb3_av_send returns the error of the
// oldest of them, and vb3_av_receive returns its picture.
int vb3_av_depth(const struct vb3_av *av);
// Sends a packet without a picture, which counts as one of those packets. Needs a depth of more than 1.
int vb3_av_nudge(struct vb3_av *av);
// Returns 1 if the decoder has warned of a fault since the last call or flush. Errors that the decoder conceals are
// among these faults.
int vb3_av_take_warning(struct vb3_av *av);
void vb3_av_close(struct vb3_av *av);
// Sends a packet. An empty one requests all delayed pictures. Returns 0 or a negative error.
int vb3_av_send(struct vb3_av *av, const uint8_t *data, size_t len, int64_t number);
// Returns 1 with a picture, 0 without, or a negative error. The planes stay valid until the next call.
int vb3_av_receive(struct vb3_av *av, struct vb3_av_picture *picture);
// From now on, keeps the picture of the last packet for vb3_av_current, whatever the output order.
// Returns 0 or a negative error.
int vb3_av_keep_current(struct vb3_av *av);
// Returns 1 with the picture that the last packet was decoded into, or 0 if there is none. The picture's
// planes stay valid until the next packet or vb3_av_flush.
int vb3_av_current(const struct vb3_av *av, struct vb3_av_picture *picture);
// Drops pictures and references.
void vb3_av_flush(struct vb3_av *av);
// Returns 1 with the format of a picture in progress that was not received yet, or 0 if there is none.
int vb3_av_coming(struct vb3_av *av, struct vb3_av_format *format);
// Writes the text of an error, at most len bytes with the final 0.
void vb3_av_error(int error, char *text, size_t len);
// Releases the picture received last.
void vb3_av_done(struct vb3_av *av);
// Returns the pixel format name of the received or coming picture.
const char *vb3_av_pixels(const struct vb3_av *av);

// In the same order as `Codec` in src/encoders.rs.
enum vb3_av_encoder_codec {
	VB3_AV_VP8_ENCODER,
	VB3_AV_HEVC_ENCODER,
	VB3_AV_H264_ENCODER,
	VB3_AV_ENCODERS,
};

// The settings of an encoder.
struct vb3_av_settings {
	uint32_t codec;
	uint32_t width;
	uint32_t height;
	// Frame rate: `frames` pictures in `seconds` seconds.
	uint32_t frames;
	uint32_t seconds;
	uint32_t bitrate;
	// 1 for a constant bitrate.
	uint32_t constant;
	// Maximum number of pictures from one key frame to the next.
	uint32_t gop;
	// VP8: 0 to 3. H.264: 0 Constrained Baseline, 1 Main, 2 High.
	uint32_t profile;
	// H.264: level_idc, 9 for level 1b, 0 for the lowest sufficient one. HEVC: level times 10.
	uint32_t level;
	// HEVC: highest bitrate of the level, in thousands of bits per second.
	uint32_t most_kilobits;
	// Quantisers on the library's scale: VP8 0 to 63, HEVC 0 to 51.
	uint32_t least_quantizer;
	uint32_t greatest_quantizer;
	// Code points of ITU-T H.273; full_range is 1 for full range. VP8 ignores them.
	uint8_t primaries;
	uint8_t transfer;
	uint8_t matrix;
	uint8_t full_range;
};

struct vb3_av_packet {
	const uint8_t *data;
	size_t len;
	uint32_t key;
};

struct vb3_av_encoder;

// Returns the name of a codec's encoder, or NULL without one.
const char *vb3_av_encoder(const char *name);
// Opens an encoder. Returns NULL if there is none, if memory is short, or if the settings are refused.
struct vb3_av_encoder *vb3_av_encoder_open(const struct vb3_av_settings *settings);
void vb3_av_encoder_close(struct vb3_av_encoder *av);
// Sets the bitrate from the next picture on. H.264 only.
void vb3_av_set_bitrate(struct vb3_av_encoder *av, uint32_t bitrate);
// Encodes Y, U and V; number increases by 1 per picture. Returns 0 or a negative error.
int vb3_av_encode(struct vb3_av_encoder *av, const uint8_t *const planes[3],
		  const size_t strides[3], int64_t number, int force_key);
// Returns 1 with a packet, 0 without, or a negative error. The bytes stay valid until the next call.
int vb3_av_packet(struct vb3_av_encoder *av, struct vb3_av_packet *packet);

#endif
