// SPDX-License-Identifier: MIT OR Apache-2.0
// In the place of avcodec.c where libavcodec's headers are missing.
#include "shim.h"

uint32_t vb3_av_version(void) { return 0; }
const char *vb3_av_license(void) { return ""; }
const char *vb3_av_decoder(uint32_t codec) { (void)codec; return NULL; }
struct vb3_av *vb3_av_open(uint32_t codec) { (void)codec; return NULL; }
void vb3_av_close(struct vb3_av *av) { (void)av; }
void vb3_av_flush(struct vb3_av *av) { (void)av; }
const char *vb3_av_pixels(const struct vb3_av *av) { (void)av; return ""; }

int vb3_av_send(struct vb3_av *av, const uint8_t *data, size_t len, int64_t number)
{
	(void)av, (void)data, (void)len, (void)number;
	return -1;
}

int vb3_av_receive(struct vb3_av *av, struct vb3_av_picture *picture)
{
	(void)av, (void)picture;
	return 0;
}

int vb3_av_keep_current(struct vb3_av *av)
{
	(void)av;
	return -1;
}

int vb3_av_current(const struct vb3_av *av, struct vb3_av_picture *picture)
{
	(void)av, (void)picture;
	return 0;
}

int vb3_av_shape(const struct vb3_av *av, struct vb3_av_shape *shape)
{
	(void)av, (void)shape;
	return 0;
}

int vb3_av_offer(struct vb3_av *av, uint64_t memory, const struct vb3_av_shape *shape,
		 uint8_t *const planes[3])
{
	(void)av, (void)memory, (void)shape, (void)planes;
	return 0;
}

uint64_t vb3_av_offered(const struct vb3_av *av) { (void)av; return 0; }
void vb3_av_withdraw(struct vb3_av *av) { (void)av; }
uint64_t vb3_av_released(struct vb3_av *av) { (void)av; return 0; }
void vb3_av_done(struct vb3_av *av) { (void)av; }

int vb3_av_coming(const struct vb3_av *av, struct vb3_av_format *format)
{
	(void)av, (void)format;
	return 0;
}

void vb3_av_error(int error, char *text, size_t len)
{
	(void)error;
	if (len)
		text[0] = 0;
}

const char *vb3_av_encoder(uint32_t codec) { (void)codec; return NULL; }
struct vb3_av_encoder *vb3_av_encoder_open(const struct vb3_av_settings *s) { (void)s; return NULL; }
void vb3_av_encoder_close(struct vb3_av_encoder *av) { (void)av; }
void vb3_av_set_bitrate(struct vb3_av_encoder *av, uint32_t bits) { (void)av, (void)bits; }

int vb3_av_encode(struct vb3_av_encoder *av, const uint8_t *const planes[3],
		  const size_t strides[3], int64_t number, int force_key)
{
	(void)av, (void)planes, (void)strides, (void)number, (void)force_key;
	return -1;
}

int vb3_av_packet(struct vb3_av_encoder *av, struct vb3_av_packet *packet)
{
	(void)av, (void)packet;
	return 0;
}
