//! The answers of devices that implement only the required methods.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

const ID: FdIdentity = FdIdentity { dev: 1, ino: 2 };
const FILE: FileId = FileId(1);

/// A backend without devices. It counts its ticks.
#[derive(Debug, Default)]
struct Plain {
    ticks: usize,
    next_tick: Option<Duration>,
}

impl Devices for Plain {
    fn nodes(&self) -> Vec<Node> {
        Vec::new()
    }
    fn open(&mut self, _: NodeId, _: i32, _: Origin) -> Result<FileId, Errno> {
        Err(Errno::ENODEV)
    }
    fn release(&mut self, _: FileId) {}
    fn tag_ended(&mut self, _: Tag) {}
    fn call(&mut self, _: &Call<'_>) -> Outcome {
        Outcome::Wait
    }
    fn abandon(&mut self, _: FileId, _: CallId) {}
    fn mmap(&mut self, _: FileId, _: &Mmap, _: Origin) -> Result<Map, Errno> {
        Err(Errno::EINVAL)
    }
    fn poll(&mut self, _: FileId, _: i16) -> i16 {
        0
    }
    fn peek(&mut self, _: FileId, _: i16) -> i16 {
        0
    }
    fn next_tick(&self) -> Option<Duration> {
        self.next_tick
    }
    fn tick(&mut self) {
        self.ticks += 1;
    }
    fn wake_fds(&self) -> Vec<WakeFd<'_>> {
        Vec::new()
    }
    fn take_changed(&mut self, _: &mut Vec<FileId>) {}
}

impl ProcessFiles for Plain {
    fn is_buffer(&self, _: FdIdentity) -> bool {
        false
    }
    fn buffer_len(&self, _: FdIdentity) -> u64 {
        0
    }
    fn files(&self, _: NodeId) -> Vec<(PathBuf, Vec<u8>)> {
        Vec::new()
    }
}

#[test]
fn frame_is_one_piece() {
    let frame: u64 = 640 * 480 * 2;
    assert_eq!(frame.min(PIECE_BYTES), frame);
    assert_eq!(CallOutcome::from(Ok(())), CallOutcome::Done(0));
    let failed = CallOutcome::from(Err(Errno::EIO));
    assert_eq!(failed, CallOutcome::Fail(Errno::EIO));
}

#[test]
fn plain_backend_reports_no_changes() {
    let mut plain = Plain::default();
    assert!(plain.take_hotplug().is_empty());
    assert!(plain.links(NodeId(1)).is_empty());
    assert!(!plain.take_buffers_changed() && !plain.is_own_child(1));
    assert!(!plain.is_foreign(ID) && !plain.takes_memory(0));
    assert!(
        plain.needs_fresh_closes(FILE, Some(0), &[]),
        "closes may matter"
    );
    assert_eq!(plain.buffer_mapped(ID, Origin::process(1, 1)), Ok(()));
}

#[test]
fn plain_buffer_is_ready_as_asked() {
    let mut plain = Plain::default();
    for (events, ready) in [(1, 1), (4, 4), (5, 5), (7, 5), (2, 0)] {
        assert_eq!(plain.buffer_poll(ID, events), ready, "{events}");
    }
}

#[test]
fn tick_is_due_once_its_time_has_come() {
    let mut plain = Plain::default();
    let mut due = |next_tick| {
        plain.next_tick = next_tick;
        plain.is_due()
    };
    let later = Duration::from_nanos(1);
    assert_eq!(
        [None, Some(later), Some(Duration::ZERO)].map(&mut due),
        [false, false, true]
    );
    plain.continue_work(&|| false);
    assert_eq!(plain.ticks, 1);
}

#[test]
fn nodes_have_majors_and_devices_names() {
    let video = Node::video(NodeId(3), "/dev/video3", 4);
    assert_eq!((video.id, video.minor, video.major()), (NodeId(3), 4, 81));
    let major = |kind| {
        Node {
            kind,
            ..video.clone()
        }
        .major()
    };
    assert_eq!(major(NodeKind::Media { major: 240 }), 240);
    assert_eq!(
        major(NodeKind::Class {
            name: "dma_heap",
            major: 250
        }),
        250
    );
    assert_eq!(major(NodeKind::File), 0);
    let device = BusDevice::platform("vb3-000");
    assert_eq!(
        (device.name(), device.bus, device.stays),
        ("vb3-000", "platform", false)
    );
    assert_eq!(device.path, "/sys/devices/platform/vb3-000");
}
