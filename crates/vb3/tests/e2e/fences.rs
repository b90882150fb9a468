//! Fences of buffers: sync files, and queues that wait for them.

use crate::common::{Run, compiled};

/// What the calls answer, by the source of Linux 6.12; that a device's buffers have fences and that
/// a queue waits for some is our own.
const ANSWERS: &str = "sw_sync: ok
export of what nobody has: ok
  it has ended: as it should
  one fence: as it should
  of status: as it should
  stub stub
export without flags: EINVAL
export with other flags: EINVAL
export to nowhere: EFAULT
import of no descriptor: EINVAL
import of a dma-buf: EINVAL
import without flags: EINVAL
import of what has ended: ok
merge with no descriptor: ENOENT
merge with a dma-buf: ENOENT
merge with flags: EINVAL
merge of nowhere: EFAULT
info with flags: EINVAL
info of nowhere: EFAULT
other call: ENOTTY
read: EINVAL
mmap: ENODEV
queued, not streaming: as it should
STREAMON: ok
captured: dma-buf: as it should
captured: sync file: as it should
captured: status: as it should
  vb3 video0
select on the copy: as it should
  status: as it should
the dma-buf then: as it should
STREAMOFF: ok
  status: as it should
  it has ended: as it should
merge keeps the last: as it should
  both
increment: ok
  first: as it should
  both: as it should
increment: ok
  the child's wait: as it should
a timeline that is closed: as it should
import: ok
QBUF of the first: ok
QBUF of the second: ok
STREAMON: ok
  is queued: as it should
  nothing is shown: as it should
increment: ok
  comes back: as it should
import: ok
QBUF of the third: ok
STREAMOFF: ok
  is the program's: as it should
before SYNC: as it should
SYNC: ok
  status: as it should
";

#[test]
fn sync_files_answer_as_the_kernels_do_and_queues_wait_for_them() {
    let Some(program) = compiled("sync_files.c") else {
        return;
    };
    let outcome = Run::on("pc")
        .device("camera,fps=1")
        .device("display")
        .program([&program])
        .and(["/dev/video0", "/dev/video1"])
        .run();
    assert_eq!(outcome.stdout, ANSWERS, "{}", outcome.stderr);
    outcome.expect_success();
}
