//! Tests of single operations on fences. Random sequences are in `model`.

mod model;

use super::reservation::Reservation;
use super::*;
use crate::tests::{Bufs, buffers};
use crate::{Backing, Error, MemoryId};
use alloc::vec::Vec;

/// How a device's access ends: with success, with an error of the device, or because its stream was stopped.
const OUTCOMES: [Result<(), i32>; 3] = [Ok(()), Err(5), Err(125)];

type Line = Timeline<Owner<u32>>;

fn memory(b: &Bufs) -> MemoryId {
    crate::tests::memory(b, Backing::Coherent(1), Direction::Bidirectional, 1)
}

fn owner(number: usize) -> Owner<u32> {
    Owner::Device(number as u32)
}

fn timeline(b: &Bufs, number: u64) -> Line {
    b.with_fences(|fences, _| fences.timeline(Owner::Program(number)))
}

fn file_at(b: &Bufs, timeline: &mut Line, seqno: u64) -> SyncFile {
    b.with_fences(|fences, now_ns| fences.sync_file_at(timeline, seqno, now_ns))
        .unwrap()
}

fn merge(b: &Bufs, one: &SyncFile, two: &SyncFile) -> Result<SyncFile, Error> {
    b.with_fences(|fences, now_ns| fences.merge(one, two, now_ns))
}

fn advance(b: &Bufs, timeline: &mut Line, to: u64) {
    b.with_fences(|fences, now_ns| fences.advance(timeline, to, Ok(()), now_ns));
}

fn close(b: &Bufs, timeline: Line, outcome: Result<(), i32>) {
    b.with_fences(|fences, now_ns| fences.close(timeline, outcome, now_ns));
}

fn put(b: &Bufs, file: SyncFile) {
    b.with_fences(|fences, _| fences.put_sync_file(file));
}

fn status(b: &Bufs, file: &SyncFile) -> Status {
    b.with_fences(|fences, _| fences.sync_file_status(file))
}

fn ended(b: &Bufs, file: &SyncFile) -> Option<Result<(), i32>> {
    match status(b, file) {
        Status::Pending => None,
        Status::Ended { outcome, .. } => Some(outcome),
    }
}

fn is_empty(b: &Bufs) -> bool {
    b.with_fences(|fences, _| fences.is_empty())
}

#[test]
fn a_reader_waits_for_writers_and_a_writer_for_all() {
    let b = buffers();
    let id = memory(&b);
    let display = b.begin_access(id, owner(2), Usage::Read).unwrap();
    assert!(!b.is_busy(id, Usage::Read));
    assert!(b.is_busy(id, Usage::Write));
    let camera = b.begin_access(id, owner(1), Usage::Write).unwrap();
    assert!(b.is_busy(id, Usage::Read));
    b.end_access(id, camera, Ok(()));
    assert!(!b.is_busy(id, Usage::Read));
    assert!(b.is_busy(id, Usage::Write));
    b.end_access(id, display, Ok(()));
    assert!(!b.is_busy(id, Usage::Write));
    assert_eq!(b.fence_counts(), (2, 2));
}

#[test]
fn a_device_needs_no_lock_but_its_memory() {
    let b = buffers();
    let id = memory(&b);
    // The tests' locks panic if they are taken twice.
    b.with_fences(|_, _| {
        let camera = b.begin_access(id, owner(1), Usage::Write).unwrap();
        assert!(b.is_busy(id, Usage::Read) && !b.is_held_back(id, Usage::Read));
        b.end_access(id, camera, Ok(()));
    });
    b.free(id);
}

#[test]
fn device_fence_blocks_only_after_import() {
    let b = buffers();
    let id = memory(&b);
    let camera = b.begin_access(id, owner(1), Usage::Write).unwrap();
    assert!(is_empty(&b), "no program asked for a fence");
    assert!(!b.is_held_back(id, Usage::Read));
    let file = b.export_fences(id, Usage::Read).unwrap();
    assert!(!b.has_imports());
    b.import_fences(id, file.fences(), Usage::Write).unwrap();
    assert!(b.has_imports() && b.is_held_back(id, Usage::Read));
    let mut by = Vec::new();
    b.held_back_by(id, Usage::Read, |_, owner| by.push(owner));
    assert_eq!(by, [owner(1)]);
    b.end_access(id, camera, Err(5));
    assert!(!b.has_imports() && !b.is_held_back(id, Usage::Read));
    assert_eq!(ended(&b, &file), Some(Err(5)));
    put(&b, file);
    b.free(id);
    assert!(is_empty(&b));
}

#[test]
fn both_files_of_an_access_have_its_one_fence() {
    let b = buffers();
    let id = memory(&b);
    let camera = b.begin_access(id, owner(1), Usage::Write).unwrap();
    let files = [Usage::Read, Usage::Write].map(|usage| b.export_fences(id, usage).unwrap());
    assert_eq!(files[0].fences(), files[1].fences());
    // The access now has a fence. Its device is still listed once, not once for the access and once for the fence.
    let mut owners = Vec::new();
    b.fence_owners(id, |owner| owners.push(owner));
    assert_eq!((owners, b.fence_counts()), ([owner(1)].to_vec(), (1, 0)));
    b.end_access(id, camera, Ok(()));
    // The number of an access that has ended means nothing.
    b.end_access(id, camera, Err(5));
    assert_eq!(b.fence_counts(), (1, 1));
    for file in files {
        assert_eq!(ended(&b, &file), Some(Ok(())));
        put(&b, file);
    }
    assert!(is_empty(&b));
}

#[test]
fn fences_of_freed_memory_end() {
    let b = buffers();
    let id = memory(&b);
    for device in [1, 2] {
        b.begin_access(id, owner(device), Usage::Read).unwrap();
    }
    let file = b.export_fences(id, Usage::Write).unwrap();
    b.free(id);
    assert_eq!(ended(&b, &file), Some(Err(125)));
    assert_eq!(b.fence_counts(), (2, 2));
    put(&b, file);
    assert_eq!(b.export_fences(id, Usage::Write), Err(Error::Invalid));
    let refused = b.begin_access(id, owner(1), Usage::Read);
    assert_eq!(refused, Err(Error::Invalid));
    assert_eq!(b.fence_counts(), (2, 2));
}

#[test]
fn an_export_without_work_in_progress_has_ended() {
    let b = buffers();
    b.set_now(3);
    let file = b.export_fences(memory(&b), Usage::Write).unwrap();
    let outcome = Ok(());
    assert_eq!(status(&b, &file), Status::Ended { outcome, at_ns: 3 });
    put(&b, file);
}

#[test]
fn a_sync_file_ended_with_its_last_fence() {
    let b = buffers();
    let (mut one, mut two) = (timeline(&b, 1), timeline(&b, 2));
    let [late, early] = [&mut one, &mut two].map(|line| file_at(&b, line, 1));
    let both = merge(&b, &late, &early).unwrap();
    b.set_now(4);
    advance(&b, &mut two, 1);
    b.set_now(9);
    advance(&b, &mut one, 1);
    let outcome = Ok(());
    assert_eq!(status(&b, &both), Status::Ended { outcome, at_ns: 9 });
    for file in [late, early, both] {
        put(&b, file);
    }
}

#[test]
fn merge_keeps_last_pending_fence_of_each_context() {
    let b = buffers();
    let (mut one, mut two) = (timeline(&b, 1), timeline(&b, 2));
    let [a1, a3] = [1, 3].map(|seqno| file_at(&b, &mut one, seqno));
    let b2 = file_at(&b, &mut two, 2);
    let both = merge(&b, &a3, &a1).unwrap();
    let all = merge(&b, &both, &b2).unwrap();
    let seqnos: Vec<u64> =
        b.with_fences(|fences, _| fences.sync_file_info(&all).map(|f| f.seqno).collect());
    assert_eq!(seqnos, [3, 2]);
    advance(&b, &mut one, 2);
    assert_eq!((ended(&b, &a1), ended(&b, &all)), (Some(Ok(())), None));
    advance(&b, &mut two, 2);
    let left = merge(&b, &all, &b2).unwrap();
    assert_eq!(left.fences().len(), 1, "what has ended is left out");
    close(&b, one, Err(2));
    for file in [a1, a3, b2, both, all, left] {
        assert!(ended(&b, &file).is_some());
        put(&b, file);
    }
    close(&b, two, Ok(()));
    assert!(is_empty(&b));
}

#[test]
fn sequence_numbers_may_wrap() {
    let b = buffers();
    let mut line = timeline(&b, 1);
    advance(&b, &mut line, 0x7fff_ffff);
    advance(&b, &mut line, 0xffff_fffe);
    let file = file_at(&b, &mut line, 1);
    assert_eq!(ended(&b, &file), None);
    advance(&b, &mut line, 0);
    assert_eq!(ended(&b, &file), None);
    advance(&b, &mut line, 1);
    assert_eq!(ended(&b, &file), Some(Ok(())));
    put(&b, file);
}

#[test]
fn cyclic_sequence_numbers_are_safe() {
    let b = buffers();
    let id = memory(&b);
    let mut line = timeline(&b, 1);
    let mut all = b.export_fences(id, Usage::Read).unwrap();
    for seqno in [0x6000_0000, 0x1, 0x7fff_ffff, 0xc000_0000, 0x3000_0000] {
        let one = file_at(&b, &mut line, seqno);
        let merged = merge(&b, &all, &one).unwrap();
        b.import_fences(id, one.fences(), Usage::Write).unwrap();
        b.import_fences(id, merged.fences(), Usage::Read).unwrap();
        put(&b, one);
        put(&b, core::mem::replace(&mut all, merged));
    }
    let exported = b.export_fences(id, Usage::Write).unwrap();
    assert!(exported.fences().len() <= 1);
    put(&b, exported);
    put(&b, all);
    close(&b, line, Ok(()));
    b.free(id);
    assert!(is_empty(&b));
}

#[test]
fn a_fence_that_nobody_looks_at_is_forgotten() {
    let b = buffers();
    let mut line = timeline(&b, 1);
    for seqno in 1..100_000 {
        put(&b, file_at(&b, &mut line, seqno));
    }
    assert!(is_empty(&b));
    assert_eq!(b.fence_counts(), (99_999, 99_999));
    let room = line.points.capacity();
    assert!(room <= 8, "{room}");
    close(&b, line, Ok(()));
}

#[test]
fn early_access_note_names_both_sides() {
    let b = buffers();
    let id = memory(&b);
    let take_early = || core::mem::take(&mut b.observer().get().early);
    let camera = b.begin_access(id, owner(1), Usage::Write).unwrap();
    b.begin_access(id, owner(2), Usage::Read).unwrap();
    let program = Owner::Program(77);
    for _ in 0..3 {
        b.note_access(id, program, Usage::Read);
    }
    let during = (owner(1), Usage::Write);
    let expected = [owner(2), program, program, program];
    assert_eq!(
        take_early(),
        expected.map(|by| (id, (by, Usage::Read), during))
    );
    b.end_access(id, camera, Ok(()));
    b.note_access(id, program, Usage::Read);
    assert!(
        take_early().is_empty(),
        "the writer is done, and readers share"
    );
}

#[test]
fn a_full_table_refuses_and_gets_over_it() {
    let b = buffers();
    let id = memory(&b);
    let limit = Fences::<Owner<u32>>::LIMIT;
    let mut line = timeline(&b, 1);
    let files: Vec<SyncFile> = (1..=u64::from(limit))
        .map(|seqno| file_at(&b, &mut line, seqno))
        .collect();
    let entries = u64::from(limit);
    let full = Error::TableFull { entries };
    let more = b.with_fences(|fences, _| fences.sync_file_at(&mut line, 1 << 20, 0));
    assert_eq!(more, Err(full));
    // The device works without an entry, but no program can wait for it.
    let camera = b.begin_access(id, owner(1), Usage::Write).unwrap();
    assert_eq!(b.export_fences(id, Usage::Read), Err(full));
    files.into_iter().for_each(|file| put(&b, file));
    let file = b.export_fences(id, Usage::Read).unwrap();
    b.end_access(id, camera, Ok(()));
    assert_eq!(ended(&b, &file), Some(Ok(())));
    put(&b, file);
    assert!(is_empty(&b));
}

#[test]
fn a_sync_file_is_bounded() {
    let b = buffers();
    let limit = Fences::<Owner<u32>>::SYNC_FILE_LIMIT;
    // The timelines keep their fences pending.
    let mut timelines: Vec<_> = (0..=limit).map(|_| timeline(&b, 1)).collect();
    let files = timelines.iter_mut();
    let mut files: Vec<SyncFile> = files.map(|line| file_at(&b, line, 1)).collect();
    let more = files.pop().unwrap();
    while files.len() > 1 {
        let pairs = files.chunks(2);
        files = pairs
            .map(|pair| merge(&b, &pair[0], &pair[pair.len() - 1]).unwrap())
            .collect();
    }
    assert_eq!(files[0].fences().len(), limit);
    assert!(merge(&b, &files[0], &more).is_err());
}

#[test]
fn a_reservation_is_bounded() {
    let b = buffers();
    let id = memory(&b);
    let limit = Reservation::<Owner<u32>>::LIMIT;
    let mut timelines = Vec::new();
    for _ in 0..limit {
        let mut line = timeline(&b, 1);
        let file = file_at(&b, &mut line, 1);
        b.import_fences(id, file.fences(), Usage::Read).unwrap();
        put(&b, file);
        timelines.push(line);
    }
    let mut more = timeline(&b, 1);
    let file = file_at(&b, &mut more, 1);
    assert!(b.import_fences(id, file.fences(), Usage::Read).is_err());
    close(&b, timelines.pop().unwrap(), Ok(()));
    b.import_fences(id, file.fences(), Usage::Read).unwrap();
    // Each device has one access to a memory, so no real host has so many.
    let begin = || b.begin_access(id, owner(1), Usage::Read);
    let accesses: Vec<_> = (0..limit).map(|_| begin().unwrap()).collect();
    assert!(begin().is_err());
    b.end_access(id, accesses[0], Ok(()));
    begin().unwrap();
}
