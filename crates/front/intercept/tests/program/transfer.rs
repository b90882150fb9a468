//! Tests read and write.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::toy::{ARM, FRAME};
use vb3_intercept::Note;

use crate::{call, device, errno, inside, run_shell};

#[test]
fn redirections_of_the_shell_reach_the_device() {
    let (report, toy, _) = run_shell(
        "test \"$(head -c 7 </dev/video90)\" = 'a frame' &&
         head -c 40000 /dev/zero | dd bs=40000 iflag=fullblock 2>/dev/null >/dev/video90 &&
         dd if=/dev/video90 bs=18 count=1 2>/dev/null | grep -q '^a frame of the toy$' &&
         exec 7<>/dev/video90 && test \"$(head -c 7 <&7)\" = 'a frame' &&
         test \"$(head -c 7 /dev/fd/7)\" = 'a frame' && test -c /dev/stdin <&7 &&
         exec 7>&-",
    );
    assert_eq!(report.status, 0);
    assert_eq!(toy.written, [0; 40000]);
    toy.assert_nothing_held();
}

#[test]
fn a_copy_to_a_number_that_is_not_seen_is_noted() {
    let (report, _, notes) = run_shell("exec 7<>/dev/video90 && head -c 7 <&7 >/dev/null");
    assert_eq!(report.status, 0);
    let noted: Vec<_> = notes
        .iter()
        .filter_map(|note| match note {
            Note::OrdinaryNumber { number, .. } => Some(*number),
            _ => None,
        })
        .collect();
    assert_eq!(noted, [7]);
}

#[test]
fn odd_small_redirected_write_is_not_lost() {
    let (report, toy, _) = run_shell("printf xyz >/dev/video90 2>/dev/null");
    assert_ne!(report.status, 0);
    assert_eq!(toy.written, b"");
}

#[test]
fn small_pieces_of_cat_reach_the_device() {
    // A file in blocks of 128 KiB with a rest, and a pipe with short pieces.
    let (report, toy, _) = run_shell(
        "head -c 153600 /dev/zero >file && cat file >/dev/video90 && rm file &&
         dd if=/dev/zero bs=64 count=3 2>/dev/null | cat >/dev/video90 &&
         dd if=/dev/zero bs=192 count=2 2>/dev/null >/dev/video90",
    );
    assert_eq!(report.status, 0);
    assert_eq!(toy.written.len(), 153_600 + 192 + 384);
    toy.assert_nothing_held();
}

inside! {
    fn every_form_of_read_reaches_the_device() {
        let mut file = device();
        let mut bytes = [0; 64];
        assert_eq!(file.read(&mut bytes).expect("read"), FRAME.len());
        assert_eq!(&bytes[..FRAME.len()], FRAME);
        assert_eq!(file.read_at(&mut bytes[..4], 1000).expect("pread"), 4);
        let (mut a, mut b) = ([0; 3], [0; 40]);
        let n = file.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]);
        // A full segment is followed by the next one, and a short one ends the transfer.
        assert_eq!(n.expect("readv"), 3 + FRAME.len());
        // SAFETY: a bad pointer is refused, not followed.
        assert_eq!(unsafe { libc::read(file.as_raw_fd(), 8 as *mut _, 4) }, -1);
        assert_eq!(errno(), libc::EFAULT);
    }

    fn every_form_of_write_reaches_the_device() {
        let mut file = device();
        assert_eq!(file.write(b"abc").expect("written"), 3);
        let n = file.write_vectored(&[IoSlice::new(b"de"), IoSlice::new(b"f")]);
        assert_eq!(n.expect("writev"), 3);
        assert_eq!(file.write_at(b"g", 5).expect("pwrite"), 1);
        let read_only = File::open("/dev/video90").expect("opens");
        let refused = (&read_only).write(b"x").expect_err("not open for writing");
        assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
    }

    fn a_read_waits_for_data() {
        let mut file = device();
        call(&file, ARM, 30).expect("armed");
        let mut bytes = [0; 64];
        assert_eq!(file.read(&mut bytes).expect("read"), FRAME.len());
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/video90");
        let mut impatient = open.expect("opens");
        call(&impatient, ARM, 10_000).expect("armed");
        let refused = impatient.read(&mut bytes).expect_err("nothing yet");
        assert_eq!(refused.raw_os_error(), Some(libc::EAGAIN));
    }
}
