// Drives a stateless VP8, VP9 or HEVC decoder with correct, wrong and random controls. FILE has VP8 or VP9
// frames, IVF; HEVC gets no picture that can be decoded.
// stateless_frames VIDEO MEDIA vp8|vp9|hevc calls|frames FILE|random FILE SEED ROUNDS
#include "stateless.h"

enum { FRAMES = 32 };

struct codec {
	const char *name;
	unsigned pixelformat;
};

static const struct codec codecs[] = {
	{ "vp8", V4L2_PIX_FMT_VP8_FRAME },
	{ "vp9", V4L2_PIX_FMT_VP9_FRAME },
	{ "hevc", V4L2_PIX_FMT_HEVC_SLICE },
};

static unsigned width = 64, height = 64;
static uint8_t *frames[FRAMES];
static unsigned lens[FRAMES], count;
static struct v4l2_ctrl_vp8_frame vp8;
static struct v4l2_ctrl_vp9_frame vp9;
static struct v4l2_ctrl_vp9_compressed_hdr probabilities;
static struct v4l2_ctrl_hevc_sps sps;
static struct v4l2_ctrl_hevc_pps pps;
static struct v4l2_ctrl_hevc_scaling_matrix matrix;
static struct v4l2_ctrl_hevc_decode_params params;

static const struct control {
	const char *codec;
	unsigned id;
	void *value;
	unsigned size;
} all_controls[] = {
	{ "vp8", V4L2_CID_STATELESS_VP8_FRAME, &vp8, sizeof(vp8) },
	{ "vp9", V4L2_CID_STATELESS_VP9_FRAME, &vp9, sizeof(vp9) },
	{ "vp9", V4L2_CID_STATELESS_VP9_COMPRESSED_HDR, &probabilities, sizeof(probabilities) },
	{ "hevc", V4L2_CID_STATELESS_HEVC_SPS, &sps, sizeof(sps) },
	{ "hevc", V4L2_CID_STATELESS_HEVC_PPS, &pps, sizeof(pps) },
	{ "hevc", V4L2_CID_STATELESS_HEVC_SCALING_MATRIX, &matrix, sizeof(matrix) },
	{ "hevc", V4L2_CID_STATELESS_HEVC_DECODE_PARAMS, &params, sizeof(params) },
};

// Reads the frames of an IVF file.
static void load(const char *path)
{
	uint8_t head[32];
	FILE *file = fopen(path, "rb");
	if (!file || fread(head, 1, 32, file) != 32)
		die(path);
	width = head[12] | head[13] << 8;
	height = head[14] | head[15] << 8;
	while (count < FRAMES && fread(head, 1, 12, file) == 12) {
		unsigned len = head[0] | head[1] << 8 | head[2] << 16;
		frames[count] = malloc(len);
		if (fread(frames[count], 1, len, file) != len)
			die("fread");
		lens[count++] = len;
	}
	fclose(file);
}

// Describes frame n, whose references are the picture before it.
static void describe(unsigned n)
{
	const uint8_t *frame = frames[n];
	uint64_t before = n ? n * 1000 : 0;
	memset(&vp8, 0, sizeof(vp8));
	vp8.width = width;
	vp8.height = height;
	vp8.num_dct_parts = 1;
	memset(&probabilities, 0, sizeof(probabilities));
	memset(&pps, 0, sizeof(pps));
	memset(&matrix, 16, sizeof(matrix));
	memset(&vp9, 0, sizeof(vp9));
	vp9.bit_depth = 8;
	vp9.frame_width_minus_1 = width - 1;
	vp9.frame_height_minus_1 = height - 1;
	vp9.flags = V4L2_VP9_FRAME_FLAG_X_SUBSAMPLING | V4L2_VP9_FRAME_FLAG_Y_SUBSAMPLING;
	vp9.uncompressed_header_size = vp9.compressed_header_size = 2;
	if (frame && !(frame[0] & 1))
		vp8.flags |= V4L2_VP8_FRAME_FLAG_KEY_FRAME;
	if (frame && !(frame[0] & 4))
		vp9.flags |= V4L2_VP9_FRAME_FLAG_KEY_FRAME;
	if (frame)
		vp8.first_part_size = (frame[0] | frame[1] << 8 | frame[2] << 16) >> 5;
	vp8.dct_part_sizes[0] = lens[n] - vp8.first_part_size - (vp8.flags ? 10 : 3);
	vp8.last_frame_ts = vp8.golden_frame_ts = vp8.alt_frame_ts = before;
	vp9.last_frame_ts = vp9.golden_frame_ts = vp9.alt_frame_ts = before;
	memset(&sps, 0, sizeof(sps));
	sps.chroma_format_idc = 1;
	sps.pic_width_in_luma_samples = width;
	sps.pic_height_in_luma_samples = height;
	sps.log2_diff_max_min_luma_coding_block_size = 1;
	memset(&params, 0, sizeof(params));
}

static long set_all(const char *codec, int request)
{
	const struct control *c = all_controls;
	long done = 0;
	for (unsigned i = 0; i < sizeof(all_controls) / sizeof(*c); i++)
		if (!strcmp(c[i].codec, codec) && set(request, c[i].id, c[i].value, c[i].size) < 0)
			done = -1;
	return done;
}

// Sends a buffer's bytes as picture n; returns whether it comes without an error.
static int once(const char *codec, int request, unsigned n, unsigned len)
{
	unsigned out_flags, flags;
	long stamp = -1;
	if (queue(CAPTURE, n % BUFFERS, 0, -1, 0, 0) < 0)
		die("QBUF");
	long done = set_all(codec, request);
	if (queue(OUTPUT, 0, len, request, 0, n + 1) < 0)
		die("QBUF in a request");
	go(request);
	if (dequeue(OUTPUT, &out_flags, &stamp) != 0 ||
	    dequeue(CAPTURE, &flags, &stamp) != (int)(n % BUFFERS))
		die("DQBUF");
	if (stamp != n + 1 || (flags ^ out_flags) & V4L2_BUF_FLAG_ERROR)
		printf("stamp %ld, flags %x and %x\n", stamp, out_flags, flags);
	return done == 0 && !(flags & V4L2_BUF_FLAG_ERROR);
}

static int frame(const char *codec, int request, unsigned n)
{
	memcpy(slices[0], frames[n], lens[n]);
	return once(codec, request, n, lens[n]);
}

static void try(const char *name, unsigned id, void *value, unsigned size)
{
	printf("%s %s\n", name, word(set(-1, id, value, size)));
	describe(0);
}

static void calls(void)
{
	describe(0);
	try("plain vp8", V4L2_CID_STATELESS_VP8_FRAME, &vp8, sizeof(vp8));
	vp8.num_dct_parts = 3;
	try("3 partitions", V4L2_CID_STATELESS_VP8_FRAME, &vp8, sizeof(vp8));
	try("plain vp9", V4L2_CID_STATELESS_VP9_FRAME, &vp9, sizeof(vp9));
	vp9.tile_cols_log2 = 7;
	try("2^7 tiles", V4L2_CID_STATELESS_VP9_FRAME, &vp9, sizeof(vp9));
	vp9.profile = 2;
	vp9.bit_depth = 10;
	try("10-bit vp9", V4L2_CID_STATELESS_VP9_FRAME, &vp9, sizeof(vp9));
	try("plain hevc", V4L2_CID_STATELESS_HEVC_SPS, &sps, sizeof(sps));
	sps.bit_depth_luma_minus8 = 2;
	try("10-bit hevc", V4L2_CID_STATELESS_HEVC_SPS, &sps, sizeof(sps));
	params.num_active_dpb_entries = 17;
	try("17 references", V4L2_CID_STATELESS_HEVC_DECODE_PARAMS, &params, sizeof(params));
}

// Decodes the first frames, and wrong ones between them.
static void wrong(const char *codec, int request)
{
	for (unsigned n = 0; n < 2; n++) {
		describe(n);
		printf("frame %u: %d\n", n, frame(codec, request, n));
	}
	describe(2);
	vp8.golden_frame_ts = vp9.golden_frame_ts = 77000;
	printf("missing reference: %d\n", frame(codec, request, 2));
	describe(2);
	memcpy(slices[0], frames[2], lens[2]);
	printf("truncated: %d\n", once(codec, request, 2, 3));
	describe(2);
	vp8.flags ^= V4L2_VP8_FRAME_FLAG_KEY_FRAME;
	vp9.flags ^= V4L2_VP9_FRAME_FLAG_KEY_FRAME;
	printf("other kind: %d\n", frame(codec, request, 2));
	describe(2);
	vp8.width = width + 16;
	vp9.frame_width_minus_1 = width + 15;
	printf("wide: %d\n", frame(codec, request, 2));
	memset(slices[0], 0xff, 64);
	describe(2);
	printf("noise: %d\n", once(codec, request, 2, 64));
	describe(2);
	printf("frame 2: %d\n", frame(codec, request, 2));
}

static void at_random(const char *codec, int request, unsigned rounds)
{
	unsigned flawed = 0;
	for (unsigned i = 0; i < rounds; i++) {
		unsigned n = count ? draw() % count : 0, len = count ? lens[n] : 64;
		describe(n);
		for (unsigned c = 0; c < sizeof(all_controls) / sizeof(*all_controls); c++)
			scramble(all_controls[c].value, all_controls[c].size, draw() % 4);
		if (count)
			memcpy(slices[0], frames[n], len);
		else
			memcpy(slices[0], "\0\0\1\x26\1\xb5\0\0\1\2\1\xd0\x40\0\1\2\1\xff", 18);
		scramble(slices[0], draw() % 2 ? 16 : len, draw() % 4);
		flawed += !once(codec, request, n, draw() % 4 ? len : draw());
	}
	printf("some flawed: %d\n", flawed > 0);
	for (unsigned n = 0; n < count && n < 3; n++) {
		describe(n);
		printf("frame %u: %d\n", n, frame(codec, request, n));
	}
}

int main(int argc, char **argv)
{
	const struct codec *codec = codecs;
	if (argc < 5)
		return 2;
	while (strcmp(codec->name, argv[3]))
		codec++;
	if (argc > 5 && strcmp(codec->name, "hevc"))
		load(argv[5]);
	start(argv, codec->pixelformat, width, height);
	int request = new_request();
	if (!strcmp(argv[4], "calls")) {
		calls();
	} else if (!strcmp(argv[4], "frames")) {
		wrong(codec->name, request);
	} else if (argc == 8) {
		state = strtoull(argv[6], NULL, 0) * 2654435761u + 88172645463325252u;
		at_random(codec->name, request, strtoul(argv[7], NULL, 0));
	}
	return 0;
}
