//! Decides which failed calls are refusals, and adds them to the report.

use crate::{Run, summary};
use vb3_dma::Reason;
use vb3_dmabuf::BufId;
use vb3_frontend::{Errno, Ioctl};
use vb3_report::{DeviceFailure, Refusal};
use vb3_v4l2::decode;
use vb3_v4l2::sys::{VIDIOC_CREATE_BUFS, VIDIOC_EXPBUF, VIDIOC_REQBUFS};

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EBUSY: i32 = 16;
const EPIPE: i32 = 32;

/// Prefixes of calls whose errors are ordinary answers. Most of these calls ask, for example, where a list
/// ends or whether a control exists. Some set a crop, without which programs work, too.
const QUESTIONS: [&str; 10] = [
    "ENUM",
    "QUERY",
    "G_",
    "TRY_",
    "CROPCAP",
    "S_CROP",
    "S_SELECTION",
    "DQEVENT",
    "SUBSCRIBE_EVENT",
    "UNSUBSCRIBE_EVENT",
];

/// Returns whether a failed call is a refusal. `call` is the call's name without `VIDIOC_`.
///
/// These are no refusals: questions; calls that a device does not support (ENOTTY), that find nothing yet
/// (EAGAIN), or that come after the device was unplugged (ENODEV). Nor is DQBUF at the end of a stream
/// (EPIPE) or after the stream broke (EIO), since the report has the cause.
fn is_refusal(call: &str, errno: Errno) -> bool {
    match errno {
        Errno::EAGAIN | Errno::ENOTTY | Errno::ENODEV | Errno::NOT_GATHERED | Errno(EINTR) => false,
        Errno(EPIPE | EIO) if call == "DQBUF" => false,
        _ => {
            let call = call.strip_prefix("SUBDEV_").unwrap_or(call);
            !QUESTIONS.iter().any(|begin| call.starts_with(begin))
        }
    }
}

/// Returns the offset and the value of the field with which a call is only a query. Such a call allocates no
/// buffers, or exports a buffer that cannot exist.
const fn probe(request: u32) -> Option<(usize, u32)> {
    match request {
        VIDIOC_REQBUFS => Some((0, 0)),
        VIDIOC_CREATE_BUFS => Some((4, 0)),
        VIDIOC_EXPBUF => Some((4, u32::MAX)),
        _ => None,
    }
}

/// Makes the report's entry of a call that was refused for a memory reason.
pub(super) fn for_reason(device: &str, call: &str, errno: Errno, reason: Reason) -> Refusal {
    Refusal {
        device: device.to_owned(),
        call: call.to_owned(),
        errno: errno.0,
        constraint: reason.constraint.name().to_owned(),
        wanted: reason.wanted,
        found: reason.found,
        times: 1,
        ..Refusal::default()
    }
}

/// Returns a call's name without the prefix that all calls of its device kind share.
pub(super) fn short_name(request: u32) -> Option<&'static str> {
    let name = decode::name(request)?;
    let short = ["VIDIOC_", "MEDIA_IOC_"].iter();
    let mut short = short.filter_map(|prefix| name.strip_prefix(prefix));
    Some(short.next().unwrap_or(name))
}

/// Returns whether an ioctl only asks what the device supports.
pub(super) fn is_probe(call: Ioctl<'_>) -> bool {
    probe(call.request).is_some_and(|(at, value)| call.read_at(at) == Ok(value.to_ne_bytes()))
}

/// Why a call failed, beyond its errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Only the errno is known.
    Errno,
    /// A constraint on memory.
    Reason(Reason),
    /// A sentence for the user, instead of a refusal.
    Sentence(&'static str),
}

/// A call's failure: the errno, who refused which call, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    errno: Errno,
    /// The device's path or name, and the call's name; `None` if the failure is an ordinary answer.
    call: Option<(String, &'static str)>,
    why: Why,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            call: None,
            why: Why::Errno,
        }
    }
}

impl Refused {
    /// Makes a failure. `reason` is the constraint on memory that caused it, if this is known.
    pub(super) fn for_reason(errno: Errno, reason: Option<Reason>) -> Self {
        Self {
            why: reason.map_or(Why::Errno, Why::Reason),
            ..errno.into()
        }
    }

    /// Makes a failure that a sentence explains.
    pub(super) fn explained(errno: Errno, sentence: &'static str) -> Self {
        Self {
            why: Why::Sentence(sentence),
            ..errno.into()
        }
    }

    /// Names the device and the call, unless this is an ordinary answer.
    pub(super) fn by(self, device: impl FnOnce() -> String, call: Option<&'static str>) -> Self {
        let call = call.filter(|call| is_refusal(call, self.errno));
        Self {
            call: call.map(|call| (device(), call)),
            ..self
        }
    }
}

impl Run {
    /// Adds a failure to the report if it is a refusal that the report has no reason for. Returns its errno.
    pub(super) fn record(&mut self, refused: Refused, is_new: bool) -> Errno {
        let Refused { errno, call, why } = refused;
        let Some((device, call)) = call.filter(|_| is_new) else {
            return errno;
        };
        match why {
            Why::Reason(reason) => self.refuse(for_reason(&device, call, errno, reason)),
            Why::Sentence(sentence) => self.report.fail(DeviceFailure {
                device,
                sentence: sentence.to_owned(),
                recording: false,
                times: 1,
            }),
            Why::Errno => {
                let mut refusal = Refusal {
                    device,
                    call: call.to_owned(),
                    errno: errno.0,
                    times: 1,
                    ..Refusal::default()
                };
                if errno == Errno(EBUSY) && !self.report.has(&refusal) {
                    refusal.holder = self.user_of_buffers(&refusal.device);
                }
                self.refuse(refusal);
            }
        }
        errno
    }

    /// Returns the path of the device that a dma-buf's memory belongs to.
    pub(super) fn owner_of(&self, buf: BufId) -> String {
        let memory = self.memory.buffers().memory_of(buf).ok();
        let place = memory.and_then(|memory| summary::place(&self.nodes, memory.get()));
        place.map_or_else(|| "dma-buf".to_owned(), |place| place.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_waiting_are_no_refusals() {
        for (call, errno) in [
            ("ENUM_FMT", 22),
            ("ENUMINPUT", 22),
            ("SUBDEV_ENUM_MBUS_CODE", 22),
            ("QUERYCTRL", 22),
            ("QUERYBUF", 22),
            ("G_CTRL", 22),
            ("TRY_FMT", 22),
            ("SUBSCRIBE_EVENT", 22),
            ("DQEVENT", 2),
            ("DQBUF", 11),
            ("DQBUF", 32),
            ("DQBUF", 5),
            ("S_SELECTION", 22),
            ("QBUF", 19),
            ("QBUF", 4095),
        ] {
            assert!(!is_refusal(call, Errno(errno)), "{call} {errno}");
        }
    }

    #[test]
    fn what_changes_something_and_fails_is_refused() {
        for (call, errno) in [
            ("QBUF", 22),
            ("QBUF", 5),
            ("DQBUF", 22),
            ("S_FMT", 16),
            ("SUBDEV_S_FMT", 16),
            ("SETUP_LINK", 22),
            ("S_CTRL", 34),
            ("STREAMON", 32),
            ("REQBUFS", 12),
            ("write", 22),
            ("mmap", 22),
        ] {
            assert!(is_refusal(call, Errno(errno)), "{call} {errno}");
        }
    }

    #[test]
    fn probes_lie_where_linux_has_them() {
        use std::mem::offset_of;
        use vb3_v4l2::sys::{v4l2_create_buffers, v4l2_exportbuffer, v4l2_requestbuffers};
        let offsets = [
            offset_of!(v4l2_requestbuffers, count),
            offset_of!(v4l2_create_buffers, count),
            offset_of!(v4l2_exportbuffer, index),
        ];
        let known = [VIDIOC_REQBUFS, VIDIOC_CREATE_BUFS, VIDIOC_EXPBUF].map(probe);
        let known = known.map(|probe| probe.map(|(at, _)| at));
        assert_eq!(known, offsets.map(Some));
    }
}
