// Drives a stateless H.264 decoder with correct, wrong and random controls.
// stateless VIDEO MEDIA calls|refused|hold|random SEED ROUNDS|loop
#include "stateless.h"

enum { SIDE = 64 };

static struct v4l2_ctrl_h264_sps sps;
static struct v4l2_ctrl_h264_pps pps;
static struct v4l2_ctrl_h264_scaling_matrix matrix;
static struct v4l2_ctrl_h264_decode_params params;

// A sequence of 64x64 pixels, progressive, shown as it is decoded.
static void plain(void)
{
	memset(&sps, 0, sizeof(sps));
	memset(&pps, 0, sizeof(pps));
	memset(&matrix, 16, sizeof(matrix));
	memset(&params, 0, sizeof(params));
	sps.profile_idc = 66;
	sps.level_idc = 30;
	sps.chroma_format_idc = 1;
	sps.pic_order_cnt_type = 2;
	sps.max_num_ref_frames = 1;
	sps.pic_width_in_mbs_minus1 = sps.pic_height_in_map_units_minus1 = SIDE / 16 - 1;
	sps.flags = V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY | V4L2_H264_SPS_FLAG_DIRECT_8X8_INFERENCE;
	params.nal_ref_idc = 3;
	params.flags = V4L2_H264_DECODE_PARAM_FLAG_IDR_PIC;
}

// An IDR picture without coded macroblocks, whose samples all have one value.
static unsigned picture(uint8_t *to, uint8_t value)
{
	static const uint8_t head[] = { 0, 0, 1, 0x65, 0x88, 0x84, 0x86, 0x80 };
	uint8_t *at = to;
	memcpy(at, head, sizeof(head));
	at += sizeof(head);
	for (int block = 0; block < SIDE * SIDE / 256; block++) {
		if (block) {
			*at++ = 0x0d;
			*at++ = 0;
		}
		memset(at, value, 384);
		at += 384;
	}
	*at++ = 0x80;
	return at - to;
}

static void fill(int request)
{
	set(request, V4L2_CID_STATELESS_H264_SPS, &sps, sizeof(sps));
	set(request, V4L2_CID_STATELESS_H264_PPS, &pps, sizeof(pps));
	set(request, V4L2_CID_STATELESS_H264_SCALING_MATRIX, &matrix, sizeof(matrix));
	set(request, V4L2_CID_STATELESS_H264_DECODE_PARAMS, &params, sizeof(params));
}

// Sends the contents of slice buffer 0; prints the result of both buffers.
static int once(int request, unsigned len, const char *name)
{
	unsigned out_flags = 0, flags = 0;
	long stamp = 0;
	if (queue(CAPTURE, 0, 0, -1, 0, 0) < 0)
		die("QBUF");
	fill(request);
	if (queue(OUTPUT, 0, len, request, 0, 7) < 0)
		die("QBUF in a request");
	go(request);
	if (dequeue(OUTPUT, &out_flags, &stamp) != 0 || dequeue(CAPTURE, &flags, &stamp) != 0)
		die("DQBUF");
	int bad = !!(flags & V4L2_BUF_FLAG_ERROR);
	if (name)
		printf("%s errors=%d%d stamp=%ld\n", name, !!(out_flags & V4L2_BUF_FLAG_ERROR), bad,
		       stamp);
	return !bad;
}

static void expect_value(const uint8_t *picture, uint8_t value)
{
	for (int i = 0; i < SIDE * SIDE * 3 / 2; i++)
		if (picture[i] != value) {
			printf("sample %d is %d and not %d\n", i, picture[i], value);
			return;
		}
	printf("all %d\n", value);
}

static void good(int request, uint8_t value)
{
	plain();
	if (!once(request, picture(slices[0], value), NULL))
		printf("a good picture has an error\n");
	expect_value(pictures[0], value);
}

static void calls(int request)
{
	unsigned size = 1;
	long done = controls(VIDIOC_G_EXT_CTRLS, -1, V4L2_CID_STATELESS_H264_SPS, &sps, &size);
	printf("get short %s %u\n", word(done), size);
	size = 1;
	done = controls(VIDIOC_S_EXT_CTRLS, -1, V4L2_CID_STATELESS_H264_PPS, &pps, &size);
	printf("set short %s %u\n", word(done), size);
	printf("unmapped %s\n", word(set(-1, V4L2_CID_STATELESS_H264_SPS, (void *)8, sizeof(sps))));
	const unsigned SPS = V4L2_CID_STATELESS_H264_SPS, PPS = V4L2_CID_STATELESS_H264_PPS;
	plain();
	printf("plain %s\n", word(set(-1, SPS, &sps, sizeof(sps))));
	sps.profile_idc = 100;
	sps.chroma_format_idc = 2;
	printf("4:2:2 in High %s\n", word(set(request, SPS, &sps, sizeof(sps))));
	sps.profile_idc = 122;
	printf("4:2:2 %s\n", word(set(-1, SPS, &sps, sizeof(sps))));
	sps.chroma_format_idc = 1;
	sps.bit_depth_luma_minus8 = 2;
	printf("10 bits %s\n", word(set(request, SPS, &sps, sizeof(sps))));
	sps.bit_depth_luma_minus8 = 7;
	printf("15 bits %s\n", word(set(request, SPS, &sps, sizeof(sps))));
	plain();
	sps.bit_depth_luma_minus8 = 7;
	sps.log2_max_pic_order_cnt_lsb_minus4 = 255;
	sps.offset_for_ref_frame[254] = 1;
	done = set(-1, SPS, &sps, sizeof(sps));
	printf("without meaning %s %d %d %d\n", word(done), sps.bit_depth_luma_minus8,
	       sps.log2_max_pic_order_cnt_lsb_minus4, sps.offset_for_ref_frame[254]);
	plain();
	pps.pic_init_qp_minus26 = -63;
	printf("quantiser %s\n", word(set(request, PPS, &pps, sizeof(pps))));
	params.nal_ref_idc = 4;
	done = set(request, V4L2_CID_STATELESS_H264_DECODE_PARAMS, &params, sizeof(params));
	printf("nal_ref_idc %s\n", word(done));
	printf("without request %s\n", word(queue(OUTPUT, 0, 8, -1, 0, 0)));
	printf("for pictures %s\n", word(queue(CAPTURE, 0, 0, request, 0, 0)));
}

static void refused(int request)
{
	unsigned len = picture(slices[0], 90);
	plain();
	pps.num_slice_groups_minus1 = 1;
	once(request, len, "groups");
	plain();
	sps.pic_width_in_mbs_minus1 = 9;
	once(request, len, "wide");
	plain();
	pps.pic_parameter_set_id = 3;
	once(request, len, "other set");
	plain();
	memset(slices[0], 0xff, len);
	once(request, len, "noise");
	len = picture(slices[0], 90);
	once(request, len / 2, "half");
	good(request, 91);
}

static void hold(int request)
{
	unsigned flags, len;
	long stamp;
	plain();
	for (unsigned i = 0; i < 2; i++)
		if (queue(CAPTURE, i, 0, -1, 0, 0) < 0)
			die("QBUF");
	for (unsigned i = 0; i < 2; i++) {
		len = picture(slices[i], 60 + i);
		fill(request);
		if (queue(OUTPUT, i, len, request, V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF, 10 + i) < 0)
			die("QBUF in a request");
		go(request);
		int index = dequeue(CAPTURE, &flags, &stamp);
		printf("held %d: %s\n", i, index < 0 ? strerrorname_np(errno) : "");
		if (index >= 0) {
			printf("buffer %d stamp=%ld flags=%x\n", index, stamp, flags & 0x240);
			expect_value(pictures[index], 59 + stamp - 9);
		}
		if (dequeue(OUTPUT, &flags, &stamp) != (int)i)
			die("DQBUF");
	}
	// The same timestamp, so it goes into the held buffer.
	len = picture(slices[2], 70);
	fill(request);
	if (queue(OUTPUT, 2, len, request, 0, 11) < 0)
		die("QBUF in a request");
	go(request);
	int index = dequeue(CAPTURE, &flags, &stamp);
	printf("buffer %d stamp=%ld\n", index, stamp);
	expect_value(pictures[index < 0 ? 0 : index], 70);
	if (dequeue(OUTPUT, &flags, &stamp) != 2)
		die("DQBUF");
	// A wrong first field: the second one still goes into its buffer.
	for (unsigned i = 0; i < 2; i++)
		if (queue(CAPTURE, i, 0, -1, 0, 0) < 0)
			die("QBUF");
	for (unsigned i = 0; i < 2; i++) {
		len = picture(slices[i], 75);
		if (!i)
			memset(slices[i], 0xff, len);
		fill(request);
		unsigned holds = i ? 0 : V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF;
		if (queue(OUTPUT, i, len, request, holds, 12) < 0)
			die("QBUF in a request");
		go(request);
		if (dequeue(OUTPUT, &flags, &stamp) != (int)i)
			die("DQBUF");
		index = dequeue(CAPTURE, &flags, &stamp);
		printf("buffer %d error=%d\n", index, index >= 0 && flags & V4L2_BUF_FLAG_ERROR);
	}
}

static void at_random(int request, unsigned rounds)
{
	unsigned flawed = 0;
	for (unsigned i = 0; i < rounds; i++) {
		unsigned len = picture(slices[0], 4 + draw() % 250);
		plain();
		scramble(&sps, 12, draw() % 4);
		scramble(&sps, sizeof(sps), draw() % 8);
		scramble(&pps, sizeof(pps), draw() % 3);
		scramble(&matrix, sizeof(matrix), draw());
		scramble(&params, sizeof(params), draw());
		scramble(slices[0], draw() % 2 ? 24 : len, draw() % 8);
		flawed += !once(request, draw() % 4 ? len : draw(), NULL);
		if (i % 50 == 49)
			good(request, 100);
	}
	printf("some flawed: %d\n", flawed > 0);
}

int main(int argc, char **argv)
{
	struct pollfd nothing = { .fd = -1 };
	if (argc < 4)
		return 2;
	start(argv, V4L2_PIX_FMT_H264_SLICE, SIDE - 3, SIDE - 3);
	int request = new_request();
	if (!strcmp(argv[3], "calls")) {
		calls(request);
	} else if (!strcmp(argv[3], "refused")) {
		refused(request);
	} else if (!strcmp(argv[3], "hold")) {
		hold(request);
	} else if (!strcmp(argv[3], "random") && argc == 6) {
		state = strtoull(argv[4], NULL, 0) * 2654435761u + 88172645463325252u;
		at_random(request, strtoul(argv[5], NULL, 0));
	} else {
		for (;;) {
			good(request, 80);
			poll(&nothing, 1, 0);
		}
	}
	return 0;
}
