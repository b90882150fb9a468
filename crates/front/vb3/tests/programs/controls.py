"""Sets and reads two controls of /dev/video0 by an array on a page of its own."""
import ctypes
import fcntl
import mmap
import os
import struct

VIDIOC_G_EXT_CTRLS, VIDIOC_S_EXT_CTRLS = 0xC0205647, 0xC0205648
V4L2_CID_BRIGHTNESS, V4L2_CID_CONTRAST = 0x00980900, 0x00980901

page = mmap.mmap(-1, mmap.PAGESIZE)
entries = struct.pack("=IIIqIIIq", V4L2_CID_BRIGHTNESS, 0, 0, 40, V4L2_CID_CONTRAST, 0, 0, 100)
page[:len(entries)] = entries
addr = ctypes.addressof(ctypes.c_char.from_buffer(page))
head = bytearray(struct.pack("IIIiI4xQ", 0x00980000, 2, 0, 0, 0, addr))
device = os.open("/dev/video0", os.O_RDWR)
fcntl.ioctl(device, VIDIOC_S_EXT_CTRLS, head)
page[:len(entries)] = struct.pack("=IIIqIIIq", V4L2_CID_BRIGHTNESS, 0, 0, 0, V4L2_CID_CONTRAST, 0,
                                  0, 0)
fcntl.ioctl(device, VIDIOC_G_EXT_CTRLS, head)
