//! Which failed calls count as refused.

use vb3_host::Errno;
use vb3_v4l2::sys::{VIDIOC_CREATE_BUFS, VIDIOC_EXPBUF, VIDIOC_REQBUFS};

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EPIPE: i32 = 32;

/// Calls whose errors are answers, by the begin of their names: questions, such as where a list ends
/// or whether a control exists, and crops, which programs try and do without.
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

/// Whether a call that failed was refused. `call` is its name without `VIDIOC_`.
///
/// These are not: questions; calls that a device does not have (ENOTTY), that find nothing yet
/// (EAGAIN), or that come after the device has gone (ENODEV); DQBUF at the end of a stream (EPIPE) or
/// after it broke (EIO), of which the report has the cause.
pub(super) fn is_refusal(call: &str, errno: Errno) -> bool {
    match errno {
        Errno::EAGAIN | Errno::ENOTTY | Errno::ENODEV | Errno::NOT_GATHERED | Errno(EINTR) => false,
        Errno(EPIPE | EIO) if call == "DQBUF" => false,
        _ => !QUESTIONS.iter().any(|begin| call.starts_with(begin)),
    }
}

/// The number, and where it stands in the structure, by which a call only asks what the device
/// supports: no buffers to allocate, or the export of a buffer that cannot exist.
pub(super) const fn probe(request: u32) -> Option<(u64, u32)> {
    match request {
        VIDIOC_REQBUFS => Some((0, 0)),
        VIDIOC_CREATE_BUFS => Some((4, 0)),
        VIDIOC_EXPBUF => Some((4, u32::MAX)),
        _ => None,
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
        assert_eq!(known, offsets.map(|at| Some(at as u64)));
    }
}
