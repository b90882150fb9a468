// Captures frames without the C library: Go makes its system calls itself.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	capture       = 1
	memoryMmap    = 1
	vidiocGFmt    = 0xc0d05604
	vidiocReqbufs = 0xc0145608
	vidiocQuery   = 0xc0585609
	vidiocQbuf    = 0xc058560f
	vidiocDqbuf   = 0xc0585611
	vidiocOn      = 0x40045612
	vidiocOff     = 0x40045613
)

// struct v4l2_buffer of a 64-bit machine.
type buffer struct {
	index, kind, bytesused, flags, field, _ uint32
	timestamp                               [2]int64
	timecode                                [16]byte
	sequence, memory                        uint32
	offset                                  uint32
	_                                       uint32
	length, _, _, _                         uint32
}

// struct v4l2_requestbuffers.
type requestBuffers struct {
	count, kind, memory, capabilities, flags uint32
}

// struct v4l2_format, with its pix member.
type format struct {
	kind, _                      uint32
	width, height, fourcc, field uint32
	bytesperline, sizeimage      uint32
	_                            [176]byte
}

func control(fd int, request uintptr, argument unsafe.Pointer, what string) {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		fmt.Fprintf(os.Stderr, "capture: %s: %s\n", what, errno)
		os.Exit(1)
	}
}

func main() {
	if unsafe.Sizeof(buffer{}) != 88 || unsafe.Sizeof(format{}) != 208 {
		panic("a struct has the wrong size")
	}
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		os.Exit(2)
	}
	out, err := os.Create(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fd, err := syscall.Open("/dev/video0", syscall.O_RDWR, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "capture: /dev/video0:", err)
		os.Exit(1)
	}
	f := format{kind: capture}
	control(fd, vidiocGFmt, unsafe.Pointer(&f), "G_FMT")
	r := requestBuffers{count: 4, kind: capture, memory: memoryMmap}
	control(fd, vidiocReqbufs, unsafe.Pointer(&r), "REQBUFS")
	mapped := make([][]byte, r.count)
	for i := range mapped {
		b := buffer{index: uint32(i), kind: capture, memory: memoryMmap}
		control(fd, vidiocQuery, unsafe.Pointer(&b), "QUERYBUF")
		mapped[i], err = syscall.Mmap(fd, int64(b.offset), int(b.length), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			fmt.Fprintln(os.Stderr, "capture: mmap:", err)
			os.Exit(1)
		}
		control(fd, vidiocQbuf, unsafe.Pointer(&b), "QBUF")
	}
	kind := int32(capture)
	control(fd, vidiocOn, unsafe.Pointer(&kind), "STREAMON")
	for i := 0; i < count; i++ {
		b := buffer{kind: capture, memory: memoryMmap}
		control(fd, vidiocDqbuf, unsafe.Pointer(&b), "DQBUF")
		if _, err := out.Write(mapped[b.index][:b.bytesused]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		control(fd, vidiocQbuf, unsafe.Pointer(&b), "QBUF")
	}
	control(fd, vidiocOff, unsafe.Pointer(&kind), "STREAMOFF")
	if err := out.Close(); err != nil {
		os.Exit(1)
	}
}
