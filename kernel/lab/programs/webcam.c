// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The firmware of a USB webcam: answers the control requests that Linux's webcam gadget passes on.
 *
 *   webcam NODE    until it is killed; NODE is the gadget's video node
 *
 * The webcam appears on the bus when this program asks for the requests. It has the formats and sizes
 * that scenarios/clone.sh configures, and sends no frames.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/usb/ch9.h>
#include <linux/usb/g_uvc.h>
#include <linux/usb/video.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define CAMERA 1
#define PROCESSING 2
#define STREAMING 1

/* A control: its unit and selector, bytes, and numbers. */
struct control {
	uint8_t unit, selector, bytes;
	int32_t min, max, step, def, now;
};

static struct control controls[] = {
	/* Bits of modes: manual, aperture priority. */
	{ CAMERA, UVC_CT_AE_MODE_CONTROL, 1, 0, 0, 1 | 8, 8, 8 },
	{ CAMERA, UVC_CT_AE_PRIORITY_CONTROL, 1, 0, 1, 1, 0, 1 },
	{ CAMERA, UVC_CT_EXPOSURE_TIME_ABSOLUTE_CONTROL, 4, 3, 2047, 1, 250, 250 },
	{ CAMERA, UVC_CT_FOCUS_ABSOLUTE_CONTROL, 2, 0, 250, 5, 0, 30 },
	{ CAMERA, UVC_CT_FOCUS_AUTO_CONTROL, 1, 0, 1, 1, 1, 1 },
	{ CAMERA, UVC_CT_ZOOM_ABSOLUTE_CONTROL, 2, 100, 500, 1, 100, 100 },
	{ PROCESSING, UVC_PU_BRIGHTNESS_CONTROL, 2, -64, 64, 1, 0, 10 },
	{ PROCESSING, UVC_PU_CONTRAST_CONTROL, 2, 0, 95, 1, 32, 32 },
	{ PROCESSING, UVC_PU_HUE_CONTROL, 2, -2000, 2000, 50, 0, 0 },
	{ PROCESSING, UVC_PU_SATURATION_CONTROL, 2, 0, 128, 1, 64, 64 },
	{ PROCESSING, UVC_PU_GAIN_CONTROL, 2, 0, 255, 1, 16, 16 },
	{ PROCESSING, UVC_PU_POWER_LINE_FREQUENCY_CONTROL, 1, 0, 2, 1, 2, 1 },
	{ PROCESSING, UVC_PU_WHITE_BALANCE_TEMPERATURE_CONTROL, 2, 2800, 6500, 10, 4600, 4600 },
	{ PROCESSING, UVC_PU_WHITE_BALANCE_TEMPERATURE_AUTO_CONTROL, 1, 0, 1, 1, 1, 1 },
};

/* Sizes by the numbers of format and frame, which begin at 1. Format 2 is compressed. */
static const uint32_t sizes[2][2][2] = {
	{ { 640, 480 }, { 320, 240 } },
	{ { 1280, 720 }, { 640, 480 } },
};

static struct uvc_streaming_control probe;

/* Makes the host's wish one of the webcam's modes. */
static void negotiate(void)
{
	unsigned int format = probe.bFormatIndex == 2 ? 2 : 1;
	unsigned int frame = probe.bFrameIndex == 2 ? 2 : 1;
	const uint32_t *size = sizes[format - 1][frame - 1];
	uint32_t interval = probe.dwFrameInterval;

	memset(&probe, 0, sizeof(probe));
	probe.bmHint = 1;
	probe.bFormatIndex = format;
	probe.bFrameIndex = frame;
	probe.dwFrameInterval = interval > 500000 ? 666666 : 333333;
	probe.dwMaxVideoFrameSize = size[0] * size[1] * 2;
	probe.dwMaxPayloadTransferSize = 1024;
	probe.dwClockFrequency = 48000000;
	probe.bPreferedVersion = 1;
	probe.bMaxVersion = 1;
}

/* Fills the answer of a control. The length stays negative for what the webcam lacks. */
static void answer(const struct control *c, uint8_t request, struct uvc_request_data *out)
{
	int32_t value;

	switch (request) {
	case UVC_GET_INFO:
		out->data[0] = UVC_CONTROL_CAP_GET | UVC_CONTROL_CAP_SET;
		out->length = 1;
		return;
	case UVC_GET_LEN:
		out->data[0] = c->bytes;
		out->length = 2;
		return;
	case UVC_GET_CUR:
		value = c->now;
		break;
	case UVC_GET_MIN:
		value = c->min;
		break;
	case UVC_GET_MAX:
		value = c->max;
		break;
	case UVC_GET_RES:
		value = c->step;
		break;
	case UVC_GET_DEF:
		value = c->def;
		break;
	default:
		return;
	}
	/* Little-endian, as this machine is. */
	memcpy(out->data, &value, c->bytes);
	out->length = c->bytes;
}

static struct control *find(const struct usb_ctrlrequest *r)
{
	for (size_t i = 0; i < sizeof(controls) / sizeof(*controls); i++)
		if (controls[i].unit == r->wIndex >> 8 && controls[i].selector == r->wValue >> 8)
			return &controls[i];
	return NULL;
}

/* Answers a request for the streaming interface's mode, to try (probe) or to use (commit). */
static void stream(const struct usb_ctrlrequest *r, struct uvc_request_data *out)
{
	if (r->bRequest == UVC_GET_INFO) {
		out->data[0] = UVC_CONTROL_CAP_GET | UVC_CONTROL_CAP_SET;
		out->length = 1;
	} else if (r->bRequest == UVC_GET_LEN) {
		out->data[0] = sizeof(probe);
		out->length = 2;
	} else if (r->bRequest & USB_DIR_IN) {
		negotiate();
		memcpy(out->data, &probe, sizeof(probe));
		out->length = sizeof(probe);
	}
}

int main(int argc, char **argv)
{
	struct v4l2_event_subscription wanted = { .type = UVC_EVENT_SETUP };
	struct usb_ctrlrequest last = { 0 };
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	struct pollfd events = { .fd = fd, .events = POLLPRI };

	if (fd < 0) {
		perror("usage: webcam NODE");
		return 2;
	}
	probe.dwFrameInterval = 333333;
	negotiate();
	wanted.type = UVC_EVENT_DATA;
	if (ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &wanted))
		perror("subscribe to data");
	wanted.type = UVC_EVENT_SETUP;
	if (ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &wanted)) {
		perror("subscribe to requests");
		return 1;
	}
	for (;;) {
		struct uvc_request_data out = { .length = -EL2HLT };
		struct v4l2_event event = { 0 };
		const struct uvc_event *uvc = (const struct uvc_event *)&event.u.data;
		struct control *c;

		if (poll(&events, 1, -1) < 0 || ioctl(fd, VIDIOC_DQEVENT, &event))
			continue;
		if (event.type == UVC_EVENT_DATA) {
			c = find(&last);
			if (last.wIndex == STREAMING)
				memcpy(&probe, uvc->data.data, sizeof(probe));
			else if (c) {
				/* Signed controls have two bytes. */
				c->now = c->bytes == 2 ? (int16_t)(uvc->data.data[0] | uvc->data.data[1] << 8) :
							 uvc->data.data[0];
				if (c->bytes == 4)
					memcpy(&c->now, uvc->data.data, 4);
			}
			continue;
		}
		if (event.type != UVC_EVENT_SETUP)
			continue;
		last = uvc->req;
		c = find(&last);
		if (last.bRequest == UVC_SET_CUR && (c || last.wIndex == STREAMING))
			/* The bytes follow as an event. */
			out.length = last.wLength;
		else if (last.wIndex == STREAMING)
			stream(&last, &out);
		else if (c)
			answer(c, last.bRequest, &out);
		if (ioctl(fd, UVCIOC_SEND_RESPONSE, &out))
			perror("send response");
	}
}
