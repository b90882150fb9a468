//! A process's memory is a range of bytes, which ends with the process.

use super::*;

#[test]
fn bytes_return_as_written_across_pages() {
    let space = Space::new();
    let (at, data) = (slot_at(0) + 4000, (0..9000).map(|n| n as u8));
    let data: Vec<u8> = data.collect();
    assert_eq!(space.write(at, &data), Ok(()));
    let mut read = vec![1; data.len() + 200];
    assert_eq!(space.read(at - 100, &mut read), Ok(()));
    let zeroes = [0; 100];
    assert!(read == [&zeroes[..], &data, &zeroes].concat());
}

#[test]
fn slots_and_arguments_do_not_overlap() {
    let arguments = [ARG, PLANES];
    let slots = (0..SLOTS).map(slot_at);
    let all: Vec<u64> = arguments.into_iter().chain(slots).collect();
    assert!(all.windows(2).all(|two| two[1] - two[0] >= PAGE as u64));
    let slots = &all[arguments.len()..];
    assert!(slots.windows(2).all(|two| two[1] - two[0] == SLOT_BYTES));
    assert!(slots.iter().all(|slot| slot % SLOT_BYTES == 0));
}

#[test]
fn access_outside_the_memory_is_refused() {
    let space = Space::new();
    let last = slot_at(SLOTS - 1) + SLOT_BYTES;
    let mut two = [0; 2];
    for at in [ARG - 1, last - 1, last, 0, u64::MAX] {
        assert_eq!(space.read(at, &mut two), Err(Errno::EFAULT), "{at:#x}");
        assert_eq!(space.write(at, &two), Err(Errno::EFAULT), "{at:#x}");
    }
    for at in [ARG, last - 2] {
        assert_eq!(space.read(at, &mut two), Ok(()), "{at:#x}");
        assert_eq!(space.write(at, &two), Ok(()), "{at:#x}");
    }
    for (at, there) in [(last - 3, 3), (ARG, 10), (ARG - 1, 0)] {
        let range = space.range(at, 10);
        assert_eq!((range.readable, range.writable), (there, there), "{at:#x}");
        assert_eq!(range.bytes.len() as u64, there, "{at:#x}");
    }
}

#[test]
fn ended_process_has_no_memory() {
    let space = Space::new();
    space.end();
    let mut one = [0];
    assert_eq!(space.read(ARG, &mut one), Err(Errno::EFAULT));
    assert_eq!(space.write(ARG, &one), Err(Errno::EFAULT));
    assert_eq!(space.range(ARG, 1).readable, 0);
}
