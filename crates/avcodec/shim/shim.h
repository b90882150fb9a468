// SPDX-License-Identifier: MIT OR Apache-2.0
// What src/library.rs calls. All that is libavcodec's stays behind it: which version it is matters
// to the compiler of the C alone.
#ifndef VB3_AVCODEC_SHIM_H
#define VB3_AVCODEC_SHIM_H

#include <stddef.h>
#include <stdint.h>

// As the order of src/library.rs: Codec.
enum vb3_av_codec {
	VB3_AV_H264,
	VB3_AV_HEVC,
	VB3_AV_VP8,
	VB3_AV_VP9,
	VB3_AV_AV1,
	VB3_AV_MPEG2,
	VB3_AV_MPEG4,
	VB3_AV_CODECS,
};

// Of a picture, or of those that are to come.
struct vb3_av_format {
	uint32_t coded_width;
	uint32_t coded_height;
	// The visible part.
	uint32_t left;
	uint32_t top;
	uint32_t width;
	uint32_t height;
	// Bytes of a sample of 4:2:0 in three planes: 1, or 2 where it has 10 bits; 0 for all else, and
	// for 10 bits of a codec whose device has 8 alone.
	uint32_t sample_bytes;
	// Code points of ITU-T H.273; 1 for full range.
	uint8_t primaries;
	uint8_t transfer;
	uint8_t matrix;
	uint8_t full_range;
	int32_t profile;
	int32_t level;
	// Pictures that the decoder holds back.
	uint32_t held_back;
};

struct vb3_av_picture {
	struct vb3_av_format format;
	// Of the packet it came from; negative if the library does not say.
	int64_t number;
	// Y, U and V of the visible part.
	const uint8_t *data[3];
	size_t strides[3];
	// 1 if parts are made up.
	uint32_t damaged;
	// 0 progressive, 1 top field first, 2 bottom field first.
	uint32_t interlaced;
	// Of the memory given by vb3_av_offer that it lies in; 0 where it lies in the library's own.
	uint64_t memory;
};

// How the library lays out pictures: Y, U and V.
struct vb3_av_shape {
	// With what is not shown.
	uint32_t width;
	uint32_t height;
	// Bytes from one row to the next.
	size_t strides[3];
	// Bytes that it may touch from the first sample of each plane on.
	size_t rooms[3];
};

struct vb3_av;

// 0 without the library, else its version as major << 16 | minor << 8 | micro.
uint32_t vb3_av_version(void);
// Of the library as it was built, e.g. "LGPL version 2.1 or later".
const char *vb3_av_license(void);
// The name of the decoder for a codec; NULL without one.
const char *vb3_av_decoder(uint32_t codec);
// NULL without decoder or memory.
struct vb3_av *vb3_av_open(uint32_t codec);
void vb3_av_close(struct vb3_av *av);
// Sends a packet; one without bytes asks for all pictures that are held. Gives 0 or a negative error.
int vb3_av_send(struct vb3_av *av, const uint8_t *data, size_t len, int64_t number);
// 1 with a picture, whose planes stay until the next call; 0 without; a negative error.
int vb3_av_receive(struct vb3_av *av, struct vb3_av_picture *picture);
// From now on the picture under way is kept for vb3_av_current, in whichever order they come out.
// 0 or a negative error.
int vb3_av_keep_current(struct vb3_av *av);
// The picture that the last packet was decoded into: 1 with one, whose planes stay until the next
// packet or vb3_av_flush; 0 where it was decoded into none.
int vb3_av_current(const struct vb3_av *av, struct vb3_av_picture *picture);
// Forgets pictures and references.
void vb3_av_flush(struct vb3_av *av);
// What a picture under way is like that was not received yet; 0 if there is none.
int vb3_av_coming(const struct vb3_av *av, struct vb3_av_format *format);
// Says what an error means; writes at most len bytes with the last 0.
void vb3_av_error(int error, char *text, size_t len);
// How it laid out the last picture that it took memory of its own for; 0 if there was none, or it
// was no 8-bit 4:2:0.
int vb3_av_shape(const struct vb3_av *av, struct vb3_av_shape *shape);
// Offers memory for one picture of a shape: Y, U and V; for a plane that is NULL the library takes
// memory of its own. The memory stays until vb3_av_released names it, or vb3_av_withdraw. 0 if there
// is an offer already, or no room for one more.
int vb3_av_offer(struct vb3_av *av, uint64_t memory, const struct vb3_av_shape *shape,
		 uint8_t *const planes[3]);
// The memory that was offered and not taken; 0 if there is none.
uint64_t vb3_av_offered(const struct vb3_av *av);
void vb3_av_withdraw(struct vb3_av *av);
// Memory that was taken and is used no more, told once; 0 if there is none.
uint64_t vb3_av_released(struct vb3_av *av);
// Done with the picture received last.
void vb3_av_done(struct vb3_av *av);
// The name of the pixel format of the picture received, or coming.
const char *vb3_av_pixels(const struct vb3_av *av);

// As the order of src/encoders.rs: Codec.
enum vb3_av_encoder_codec {
	VB3_AV_VP8_ENCODER,
	VB3_AV_HEVC_ENCODER,
	VB3_AV_H264_ENCODER,
	VB3_AV_ENCODERS,
};

// What an encoder is to make.
struct vb3_av_settings {
	uint32_t codec;
	uint32_t width;
	uint32_t height;
	// So many pictures in so many seconds.
	uint32_t frames;
	uint32_t seconds;
	uint32_t bitrate;
	// 1 where as many bits are spent at all times.
	uint32_t constant;
	// Most pictures from one key frame to the next.
	uint32_t gop;
	// VP8: 0 to 3. H.264: 0 Constrained Baseline, 1 Main, 2 High.
	uint32_t profile;
	// H.264: level_idc, 9 for level 1b, 0 for the lowest that fits. HEVC: times 10.
	uint32_t level;
	// HEVC: most bits a second that the level allows, in thousands.
	uint32_t most_kilobits;
	// As the library counts them: VP8 0 to 63, HEVC 0 to 51.
	uint32_t least_quantizer;
	uint32_t greatest_quantizer;
	// Code points of ITU-T H.273; 1 for full range. VP8 says nothing of them.
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

// The name of the encoder for a codec; NULL without one.
const char *vb3_av_encoder(uint32_t codec);
// NULL without encoder or memory, or for settings that it does not take.
struct vb3_av_encoder *vb3_av_encoder_open(const struct vb3_av_settings *settings);
void vb3_av_encoder_close(struct vb3_av_encoder *av);
// H.264 alone: spends so many bits a second from the next picture on.
void vb3_av_set_bitrate(struct vb3_av_encoder *av, uint32_t bitrate);
// Encodes Y, U and V; number goes up by 1 from picture to picture. Gives 0 or a negative error.
int vb3_av_encode(struct vb3_av_encoder *av, const uint8_t *const planes[3],
		  const size_t strides[3], int64_t number, int force_key);
// 1 with a packet, whose bytes stay until the next call; 0 without; a negative error.
int vb3_av_packet(struct vb3_av_encoder *av, struct vb3_av_packet *packet);

#endif
