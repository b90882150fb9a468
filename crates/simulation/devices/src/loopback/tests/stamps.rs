//! Tests that a writer's timestamp, field and timecode reach the readers.

use super::*;
use vb3_queue::{Memory, PlaneRequest, QueueBuffer};

/// Queues the writer's buffer 0 with this timestamp and field order.
fn queue_stamped(writer: &mut Writer, timestamp_ns: u64, field: u32) {
    let mut request = QueueBuffer::new(0, Memory::Mmap);
    let plane = request.push_plane(PlaneRequest::mmap(FRAME));
    assert!(plane.is_ok(), "one plane");
    request.timestamp_ns = timestamp_ns;
    request.field = field;
    request.timecode = Some([7; 16]);
    let mut session = writer.queue.session(&writer.memory, &mut writer.device);
    session.qbuf(request).expect("the buffer can be queued");
}

#[test]
fn readers_get_the_writers_stamp() {
    let (mut writer, mut reader) = pair("", 2);
    reader.start();
    writer.start();
    const ANY: (u64, u32) = (0, 0);
    const PROGRESSIVE: u32 = 1;
    const INTERLACED: u32 = 4;
    // A frame without a timestamp gets the time of writing.
    let rows = [
        (ANY, (START, PROGRESSIVE)),
        ((77 * MS, INTERLACED), (77 * MS, INTERLACED)),
    ];
    for (given, wanted) in rows {
        queue_stamped(&mut writer, given.0, given.1);
        writer.tick(START);
        let written = writer.take().expect("the buffer comes back");
        reader.queue(0);
        reader.tick(START + MS);
        let read = reader.take().expect("a frame");
        for info in [written, read] {
            assert_eq!((info.timestamp_ns, info.field), wanted);
            assert_eq!(info.timecode, Some([7; 16]));
        }
    }
}
