//! A client of a capture device: makes ioctls as a program does, and reads the device's answers.
//!
//! No structure of these ioctls contains a pointer, so an ioctl accesses no memory besides its structure.

use crate::bytes::{Image, field};
use crate::calls::format::{read_format, write_format};
use crate::{ControlFlags, Errno, Format, FourCc, Fraction, Planarity, sys};

/// Maximum number of entries that a client reads of one list.
const MAX_ENTRIES: u32 = 1024;
const CAPTURE: u32 = sys::V4L2_BUF_TYPE_VIDEO_CAPTURE;

/// Makes an ioctl, given its number and its structure.
pub type Ioctl<'a> = dyn FnMut(u32, &mut [u8]) -> Result<(), Errno> + 'a;

/// A client of one single-planar capture device.
pub struct Client<'a>(pub &'a mut Ioctl<'a>);

impl core::fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Client")
    }
}

/// The answer of QUERYCAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Name of the driver.
    pub driver: String,
    /// Name of the device.
    pub card: String,
    /// Location of the device on its bus.
    pub bus_info: String,
    /// `V4L2_CAP_*` of all nodes of the device.
    pub capabilities: u32,
    /// `V4L2_CAP_*` of this node.
    pub device_caps: u32,
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Name of the input.
    pub name: String,
    /// `V4L2_INPUT_TYPE_*`.
    pub kind: u32,
}

/// A pixel format, as the device describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatName {
    /// Four-character code of the format.
    pub fourcc: FourCc,
    /// The device's description of the format.
    pub description: String,
}

/// One value, or a range with steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneOrRange<T> {
    /// A single value.
    One(T),
    /// Smallest value, largest value, and step. Without a step, any value between is possible.
    Range(T, T, Option<T>),
}

/// The answer of QUERY_EXT_CTRL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRange {
    /// `V4L2_CID_*`.
    pub id: u32,
    /// `V4L2_CTRL_TYPE_*`.
    pub kind: u32,
    /// Name of the control.
    pub name: String,
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
    /// Difference of neighbouring values.
    pub step: u64,
    /// Default value.
    pub default: i64,
    /// Flags of the control.
    pub flags: ControlFlags,
}

/// A filled buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Index of the buffer.
    pub index: u32,
    /// Bytes of the picture.
    pub bytes: u32,
    /// The frame's number.
    pub sequence: u32,
    /// The buffer's timestamp in nanoseconds.
    pub time_ns: u64,
}

/// Returns the text of a field, up to its zero.
fn text<const N: usize>(image: &Image<&mut [u8]>, at: usize) -> String {
    let bytes: [u8; N] = image.bytes(at);
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(N);
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn fraction(image: &Image<&mut [u8]>, at: usize) -> Fraction {
    let denominator = image.u32(at + field!(v4l2_fract.denominator));
    Fraction::new(
        image.u32(at + field!(v4l2_fract.numerator)),
        denominator.max(1),
    )
}

impl Client<'_> {
    /// Makes a call. `fill` writes the arguments, and `read` reads the answer.
    fn call<T>(
        &mut self,
        request: u32,
        fill: impl FnOnce(&mut Image<&mut [u8]>),
        read: impl FnOnce(&Image<&mut [u8]>) -> T,
    ) -> Result<T, Errno> {
        let mut bytes = [0; crate::bytes::MAX_ARG];
        // CAST: 14 bits.
        let size = ((request >> 16) & 0x3fff) as usize;
        let arg = bytes.get_mut(..size).ok_or(Errno::EINVAL)?;
        fill(&mut Image(arg));
        (self.0)(request, arg)?;
        Ok(read(&Image(arg)))
    }

    /// Reads a list until the device has no further entry.
    fn list<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self, u32) -> Result<T, Errno>,
    ) -> Result<Vec<T>, Errno> {
        let mut all = Vec::new();
        for index in 0..MAX_ENTRIES {
            match entry(self, index) {
                Ok(one) => all.push(one),
                // ENOTTY: the device lacks the call.
                Err(Errno::EINVAL | Errno(25)) => break,
                Err(other) => return Err(other),
            }
        }
        Ok(all)
    }

    /// QUERYCAP.
    ///
    /// # Errors
    /// The device's errno. ENOTTY means that it is no video device.
    pub fn capability(&mut self) -> Result<Capability, Errno> {
        let read = |image: &Image<&mut [u8]>| Capability {
            driver: text::<16>(image, field!(v4l2_capability.driver)),
            card: text::<32>(image, field!(v4l2_capability.card)),
            bus_info: text::<32>(image, field!(v4l2_capability.bus_info)),
            capabilities: image.u32(field!(v4l2_capability.capabilities)),
            device_caps: image.u32(field!(v4l2_capability.device_caps)),
        };
        self.call(sys::VIDIOC_QUERYCAP, |_| {}, read)
    }

    /// ENUMINPUT, for all inputs.
    ///
    /// # Errors
    /// The device's errno.
    pub fn inputs(&mut self) -> Result<Vec<Input>, Errno> {
        self.list(|client, index| {
            let read = |image: &Image<&mut [u8]>| Input {
                name: text::<32>(image, field!(v4l2_input.name)),
                kind: image.u32(field!(v4l2_input.type_)),
            };
            client.call(sys::VIDIOC_ENUMINPUT, |image| image.set_u32(0, index), read)
        })
    }

    /// ENUM_FMT, for all formats.
    ///
    /// # Errors
    /// The device's errno.
    pub fn formats(&mut self) -> Result<Vec<FormatName>, Errno> {
        self.list(|client, index| {
            let fill = |image: &mut Image<&mut [u8]>| {
                image.set_u32(field!(v4l2_fmtdesc.index), index);
                image.set_u32(field!(v4l2_fmtdesc.type_), CAPTURE);
            };
            let read = |image: &Image<&mut [u8]>| FormatName {
                fourcc: FourCc(image.u32(field!(v4l2_fmtdesc.pixelformat))),
                description: text::<32>(image, field!(v4l2_fmtdesc.description)),
            };
            client.call(sys::VIDIOC_ENUM_FMT, fill, read)
        })
    }

    /// ENUM_FRAMESIZES, for all sizes of a format.
    ///
    /// # Errors
    /// The device's errno.
    pub fn sizes(&mut self, fourcc: FourCc) -> Result<Vec<OneOrRange<(u32, u32)>>, Errno> {
        const AT: usize = field!(v4l2_frmsizeenum.__bindgen_anon_1);
        let sizes = self.list(|client, index| {
            let fill = |image: &mut Image<&mut [u8]>| {
                image.set_u32(field!(v4l2_frmsizeenum.index), index);
                image.set_u32(field!(v4l2_frmsizeenum.pixel_format), fourcc.0);
            };
            client.call(sys::VIDIOC_ENUM_FRAMESIZES, fill, |image| {
                let word = |at| image.u32(AT + at);
                match image.u32(field!(v4l2_frmsizeenum.type_)) {
                    sys::V4L2_FRMSIZE_TYPE_DISCRETE => OneOrRange::One((word(0), word(4))),
                    // Minimum, maximum and step of the width, then of the height.
                    _ => OneOrRange::Range(
                        (word(0), word(12)),
                        (word(4), word(16)),
                        Some((word(8), word(20))),
                    ),
                }
            })
        })?;
        Ok(up_to_range(sizes))
    }

    /// ENUM_FRAMEINTERVALS, for all intervals of a format and size.
    ///
    /// # Errors
    /// The device's errno.
    pub fn intervals(
        &mut self,
        fourcc: FourCc,
        (width, height): (u32, u32),
    ) -> Result<Vec<OneOrRange<Fraction>>, Errno> {
        const AT: usize = field!(v4l2_frmivalenum.__bindgen_anon_1);
        let intervals = self.list(|client, index| {
            let fill = |image: &mut Image<&mut [u8]>| {
                image.set_u32(field!(v4l2_frmivalenum.index), index);
                image.set_u32(field!(v4l2_frmivalenum.pixel_format), fourcc.0);
                image.set_u32(field!(v4l2_frmivalenum.width), width);
                image.set_u32(field!(v4l2_frmivalenum.height), height);
            };
            client.call(sys::VIDIOC_ENUM_FRAMEINTERVALS, fill, |image| {
                let at = |index: usize| fraction(image, AT + index * 8);
                match image.u32(field!(v4l2_frmivalenum.type_)) {
                    sys::V4L2_FRMIVAL_TYPE_DISCRETE => OneOrRange::One(at(0)),
                    sys::V4L2_FRMIVAL_TYPE_CONTINUOUS => OneOrRange::Range(at(0), at(1), None),
                    _ => OneOrRange::Range(at(0), at(1), Some(at(2))),
                }
            })
        })?;
        Ok(up_to_range(intervals))
    }

    /// G_FMT.
    ///
    /// # Errors
    /// The device's errno.
    pub fn format(&mut self) -> Result<Format, Errno> {
        let read = |image: &Image<&mut [u8]>| read_format(image, Planarity::Single);
        self.call(sys::VIDIOC_G_FMT, |image| image.set_u32(0, CAPTURE), read)
    }

    /// TRY_FMT: returns the format that the device would set.
    ///
    /// # Errors
    /// The device's errno.
    pub fn try_format(&mut self, wanted: &Format) -> Result<Format, Errno> {
        let fill = |image: &mut Image<&mut [u8]>| {
            image.set_u32(0, CAPTURE);
            write_format(image, wanted, Planarity::Single);
        };
        let read = |image: &Image<&mut [u8]>| read_format(image, Planarity::Single);
        self.call(sys::VIDIOC_TRY_FMT, fill, read)
    }

    /// G_PARM: seconds per frame; `None` if the device has no rates.
    pub fn interval(&mut self) -> Option<Fraction> {
        const AT: usize = field!(v4l2_streamparm.parm) + field!(v4l2_captureparm.timeperframe);
        let read = |image: &Image<&mut [u8]>| {
            let capability = field!(v4l2_streamparm.parm) + field!(v4l2_captureparm.capability);
            let has_rates = image.u32(capability) & sys::V4L2_CAP_TIMEPERFRAME != 0;
            has_rates.then(|| fraction(image, AT))
        };
        let asked = self.call(sys::VIDIOC_G_PARM, |image| image.set_u32(0, CAPTURE), read);
        asked.ok().flatten()
    }

    /// QUERY_EXT_CTRL, for all controls without payload.
    ///
    /// # Errors
    /// The device's errno.
    pub fn controls(&mut self) -> Result<Vec<ControlRange>, Errno> {
        let mut last = 0;
        self.list(|client, _| {
            let next = last | sys::V4L2_CTRL_FLAG_NEXT_CTRL;
            let read = |image: &Image<&mut [u8]>| ControlRange {
                id: image.u32(field!(v4l2_query_ext_ctrl.id)),
                kind: image.u32(field!(v4l2_query_ext_ctrl.type_)),
                name: text::<32>(image, field!(v4l2_query_ext_ctrl.name)),
                min: image.i64(field!(v4l2_query_ext_ctrl.minimum)),
                max: image.i64(field!(v4l2_query_ext_ctrl.maximum)),
                step: image.u64(field!(v4l2_query_ext_ctrl.step)),
                default: image.i64(field!(v4l2_query_ext_ctrl.default_value)),
                flags: ControlFlags::from_bits_truncate(
                    image.u32(field!(v4l2_query_ext_ctrl.flags)),
                ),
            };
            let fill = |image: &mut Image<&mut [u8]>| image.set_u32(0, next);
            let control = client.call(sys::VIDIOC_QUERY_EXT_CTRL, fill, read)?;
            // Stops if a device returns the same control again, because the list would never end.
            let is_new = control.id > last;
            last = control.id;
            is_new.then_some(control).ok_or(Errno::EINVAL)
        })
    }

    /// QUERYMENU: the field `name` of a menu item, and the field `value`; `None` for a gap.
    pub fn menu_item(&mut self, id: u32, index: u32) -> Option<(String, i64)> {
        const AT: usize = field!(v4l2_querymenu.__bindgen_anon_1);
        let fill = |image: &mut Image<&mut [u8]>| {
            image.set_u32(field!(v4l2_querymenu.id), id);
            image.set_u32(field!(v4l2_querymenu.index), index);
        };
        let read = |image: &Image<&mut [u8]>| (text::<32>(image, AT), image.i64(AT));
        self.call(sys::VIDIOC_QUERYMENU, fill, read).ok()
    }

    /// G_CTRL: a control's value; `None` if it cannot be read.
    pub fn value(&mut self, id: u32) -> Option<i32> {
        let read = |image: &Image<&mut [u8]>| image.i32(field!(v4l2_control.value));
        let asked = self.call(sys::VIDIOC_G_CTRL, |image| image.set_u32(0, id), read);
        asked.ok()
    }

    /// REQBUFS with MMAP. Returns the number of buffers.
    ///
    /// # Errors
    /// The device's errno. EBUSY means that another program streams.
    pub fn request_buffers(&mut self, count: u32) -> Result<u32, Errno> {
        let fill = |image: &mut Image<&mut [u8]>| {
            image.set_u32(field!(v4l2_requestbuffers.count), count);
            image.set_u32(field!(v4l2_requestbuffers.type_), CAPTURE);
            image.set_u32(field!(v4l2_requestbuffers.memory), sys::V4L2_MEMORY_MMAP);
        };
        let read = |image: &Image<&mut [u8]>| image.u32(field!(v4l2_requestbuffers.count));
        self.call(sys::VIDIOC_REQBUFS, fill, read)
    }

    fn buffer(&mut self, request: u32, index: u32) -> Result<Filled, Errno> {
        let fill = |image: &mut Image<&mut [u8]>| {
            image.set_u32(field!(v4l2_buffer.index), index);
            image.set_u32(field!(v4l2_buffer.type_), CAPTURE);
            image.set_u32(field!(v4l2_buffer.memory), sys::V4L2_MEMORY_MMAP);
        };
        let seconds = field!(v4l2_buffer.timestamp.tv_sec);
        let micros = field!(v4l2_buffer.timestamp.tv_usec);
        let read = |image: &Image<&mut [u8]>| Filled {
            index: image.u32(field!(v4l2_buffer.index)),
            bytes: image.u32(field!(v4l2_buffer.bytesused)),
            sequence: image.u32(field!(v4l2_buffer.sequence)),
            time_ns: (image.u64(seconds).saturating_mul(1_000_000))
                .saturating_add(image.u64(micros))
                .saturating_mul(1000),
        };
        self.call(request, fill, read)
    }

    /// QBUF of a buffer of [`request_buffers`](Self::request_buffers).
    ///
    /// # Errors
    /// The device's errno.
    pub fn queue(&mut self, index: u32) -> Result<(), Errno> {
        self.buffer(sys::VIDIOC_QBUF, index).map(drop)
    }

    /// DQBUF. Waits if the file is in blocking mode.
    ///
    /// # Errors
    /// The device's errno.
    pub fn dequeue(&mut self) -> Result<Filled, Errno> {
        self.buffer(sys::VIDIOC_DQBUF, 0)
    }

    /// STREAMON or STREAMOFF.
    ///
    /// # Errors
    /// The device's errno.
    pub fn stream(&mut self, on: bool) -> Result<(), Errno> {
        let request = match on {
            true => sys::VIDIOC_STREAMON,
            false => sys::VIDIOC_STREAMOFF,
        };
        self.call(request, |image| image.set_u32(0, CAPTURE), |_| ())
    }
}

/// Cuts a list after its first range, which some drivers return for every index.
fn up_to_range<T>(mut list: Vec<OneOrRange<T>>) -> Vec<OneOrRange<T>> {
    let range = |one: &OneOrRange<T>| matches!(one, OneOrRange::Range(..));
    if let Some(at) = list.iter().position(range) {
        list.truncate(at + 1);
    }
    list
}
