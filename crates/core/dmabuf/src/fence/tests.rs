//! Tests of single operations on fences. Random sequences are in `model`.

mod model;

use super::*;
use crate::{Error, MemoryId, SlabKey};
use alloc::vec::Vec;

const MEMORY: MemoryId = memory(7);

const fn memory(index: u32) -> MemoryId {
    let generation = 1;
    MemoryId(SlabKey { generation, index })
}

fn ended(fences: &Fences<u32>, file: &SyncFile) -> Option<Result<(), i32>> {
    match fences.sync_file_status(file) {
        Status::Pending => None,
        Status::Ended { outcome, .. } => Some(outcome),
    }
}

#[test]
fn a_reader_waits_for_writers_and_a_writer_for_all() {
    let mut fences = Fences::new();
    let mut camera = fences.timeline(1);
    let mut display = fences.timeline(2);
    fences
        .begin_access(MEMORY, &mut display, Usage::Read)
        .unwrap();
    assert!(!fences.is_busy(MEMORY, Usage::Read));
    assert!(fences.is_busy(MEMORY, Usage::Write));
    fences
        .begin_access(MEMORY, &mut camera, Usage::Write)
        .unwrap();
    assert!(fences.is_busy(MEMORY, Usage::Read));
    fences.end_oldest(&mut camera, Ok(()), 5);
    assert!(!fences.is_busy(MEMORY, Usage::Read));
    fences.end_oldest(&mut display, Ok(()), 6);
    assert!(!fences.is_busy(MEMORY, Usage::Write));
    assert_eq!(fences.counts().0, fences.counts().1);
}

#[test]
fn device_fence_blocks_only_after_import() {
    let mut fences = Fences::new();
    let mut camera = fences.timeline(1);
    fences
        .begin_access(MEMORY, &mut camera, Usage::Write)
        .unwrap();
    assert!(!fences.is_empty() && !fences.is_held_back(MEMORY, Usage::Read));
    let file = fences.export(MEMORY, Usage::Read, 0).unwrap();
    assert!(!fences.has_imports());
    fences.import(MEMORY, file.fences(), Usage::Write).unwrap();
    assert!(fences.has_imports() && fences.is_held_back(MEMORY, Usage::Read));
    let by = fences
        .held_back_by(MEMORY, Usage::Read)
        .map(|(_, owner)| owner);
    assert_eq!(by.collect::<Vec<_>>(), [1]);
    fences.end_oldest(&mut camera, Err(5), 9);
    assert!(!fences.has_imports() && !fences.is_held_back(MEMORY, Usage::Read));
    assert_eq!(ended(&fences, &file), Some(Err(5)));
    fences.put_sync_file(file);
    fences.forget_memory(MEMORY);
    assert!(fences.is_empty());
}

#[test]
fn an_export_without_work_in_progress_has_ended() {
    let mut fences = Fences::<u32>::new();
    let file = fences.export(MEMORY, Usage::Write, 3).unwrap();
    assert_eq!(
        fences.sync_file_status(&file),
        Status::Ended {
            outcome: Ok(()),
            at_ns: 3
        }
    );
    fences.put_sync_file(file);
}

#[test]
fn a_sync_file_ended_with_its_last_fence() {
    let mut fences = Fences::new();
    let (mut a, mut b) = (fences.timeline(1), fences.timeline(2));
    let [late, early] = [&mut a, &mut b].map(|line| fences.sync_file_at(line, 1, 0).unwrap());
    let both = fences.merge(&late, &early, 0).unwrap();
    let outcome = Ok(());
    fences.advance(&mut b, 1, outcome, 4);
    fences.advance(&mut a, 1, outcome, 9);
    let ended = Status::Ended { outcome, at_ns: 9 };
    assert_eq!(fences.sync_file_status(&both), ended);
    for file in [late, early, both] {
        fences.put_sync_file(file);
    }
}

#[test]
fn merge_keeps_last_pending_fence_of_each_context() {
    let mut fences = Fences::new();
    let (mut a, mut b) = (fences.timeline(1), fences.timeline(2));
    let [a1, a3] = [1, 3].map(|seqno| fences.sync_file_at(&mut a, seqno, 0).unwrap());
    let b2 = fences.sync_file_at(&mut b, 2, 0).unwrap();
    let both = fences.merge(&a3, &a1, 0).unwrap();
    let all = fences.merge(&both, &b2, 0).unwrap();
    let seqnos: Vec<u64> = fences.sync_file_info(&all).map(|f| f.seqno).collect();
    assert_eq!(seqnos, [3, 2]);
    fences.advance(&mut a, 2, Ok(()), 1);
    assert_eq!(
        (ended(&fences, &a1), ended(&fences, &all)),
        (Some(Ok(())), None)
    );
    fences.advance(&mut b, 2, Ok(()), 1);
    let left = fences.merge(&all, &b2, 2).unwrap();
    assert_eq!(left.fences().len(), 1, "what has ended is left out");
    fences.close(a, Err(2), 4);
    for file in [a1, a3, b2, both, all, left] {
        assert!(ended(&fences, &file).is_some());
        fences.put_sync_file(file);
    }
    fences.close(b, Ok(()), 4);
    assert!(fences.is_empty());
}

#[test]
fn sequence_numbers_may_wrap() {
    let mut fences = Fences::new();
    let mut timeline = fences.timeline(1);
    fences.advance(&mut timeline, 0x7fff_ffff, Ok(()), 0);
    fences.advance(&mut timeline, 0xffff_fffe, Ok(()), 0);
    let file = fences.sync_file_at(&mut timeline, 1, 0).unwrap();
    assert_eq!(ended(&fences, &file), None);
    fences.advance(&mut timeline, 0, Ok(()), 0);
    assert_eq!(ended(&fences, &file), None);
    fences.advance(&mut timeline, 1, Ok(()), 0);
    assert_eq!(ended(&fences, &file), Some(Ok(())));
    fences.put_sync_file(file);
}

#[test]
fn cyclic_sequence_numbers_are_safe() {
    let mut fences = Fences::new();
    let mut timeline = fences.timeline(1);
    let mut all = fences.export(MEMORY, Usage::Read, 0).unwrap();
    for seqno in [0x6000_0000, 0x1, 0x7fff_ffff, 0xc000_0000, 0x3000_0000] {
        let one = fences.sync_file_at(&mut timeline, seqno, 0).unwrap();
        let merged = fences.merge(&all, &one, 0).unwrap();
        fences.import(MEMORY, one.fences(), Usage::Write).unwrap();
        fences.import(MEMORY, merged.fences(), Usage::Read).unwrap();
        fences.put_sync_file(one);
        fences.put_sync_file(core::mem::replace(&mut all, merged));
    }
    let exported = fences.export(MEMORY, Usage::Write, 0).unwrap();
    assert!(exported.fences().len() <= 1);
    fences.put_sync_file(exported);
    fences.put_sync_file(all);
    fences.close(timeline, Ok(()), 0);
    fences.forget_memory(MEMORY);
    assert!(fences.is_empty());
}

#[test]
fn a_fence_that_nobody_looks_at_is_forgotten() {
    let mut fences = Fences::new();
    let mut timeline = fences.timeline(1);
    for seqno in 1..100_000 {
        let file = fences.sync_file_at(&mut timeline, seqno, 0).unwrap();
        fences.put_sync_file(file);
    }
    assert!(fences.is_empty());
    let room = timeline.points.capacity();
    assert!(room <= 8, "{room}");
    fences.close(timeline, Ok(()), 0);
}

#[test]
fn early_access_note_names_both_sides() {
    let mut fences = Fences::new();
    let (mut camera, mut display) = (fences.timeline(1), fences.timeline(2));
    fences
        .begin_access(MEMORY, &mut camera, Usage::Write)
        .unwrap();
    fences
        .begin_access(MEMORY, &mut display, Usage::Read)
        .unwrap();
    for _ in 0..3 {
        fences.note_access(MEMORY, 77, Usage::Read);
    }
    let early = fences.take_early();
    let seen: Vec<_> = early
        .iter()
        .map(|e| (e.by, e.usage, e.owner, e.times))
        .collect();
    assert_eq!(seen, [(2, Usage::Read, 1, 1), (77, Usage::Read, 1, 3),]);
    fences.end_oldest(&mut camera, Ok(()), 0);
    fences.note_access(MEMORY, 77, Usage::Read);
    assert!(
        fences.take_early().is_empty(),
        "the writer is done, and readers share"
    );
}

#[test]
fn a_full_table_refuses_and_gets_over_it() {
    let mut fences = Fences::new();
    let mut timeline = fences.timeline(1);
    let files: Vec<SyncFile> = (1..=u64::from(Fences::<u32>::LIMIT))
        .map(|seqno| fences.sync_file_at(&mut timeline, seqno, 0).unwrap())
        .collect();
    let full = Error::TableFull {
        entries: u64::from(Fences::<u32>::LIMIT),
    };
    let mut camera = fences.timeline(2);
    assert_eq!(fences.sync_file_at(&mut timeline, 1 << 20, 0), Err(full));
    assert_eq!(
        fences.begin_access(MEMORY, &mut camera, Usage::Write),
        Err(full)
    );
    files
        .into_iter()
        .for_each(|file| fences.put_sync_file(file));
    fences
        .begin_access(MEMORY, &mut camera, Usage::Write)
        .unwrap();
}

#[test]
fn a_sync_file_is_bounded() {
    let mut fences = Fences::new();
    let limit = Fences::<u32>::SYNC_FILE_LIMIT;
    // The timelines keep their fences pending.
    let mut timelines: Vec<_> = (0..=limit).map(|_| fences.timeline(1)).collect();
    let files = timelines.iter_mut();
    let mut files: Vec<SyncFile> = files
        .map(|timeline| fences.sync_file_at(timeline, 1, 0).unwrap())
        .collect();
    let more = files.pop().unwrap();
    while files.len() > 1 {
        let pairs = files.chunks(2);
        files = pairs
            .map(|pair| fences.merge(&pair[0], &pair[pair.len() - 1], 0).unwrap())
            .collect();
    }
    assert_eq!(files[0].fences().len(), limit);
    assert!(fences.merge(&files[0], &more, 0).is_err());
}

#[test]
fn a_reservation_is_bounded() {
    let mut fences = Fences::new();
    let limit = Fences::<u32>::RESERVATION_LIMIT;
    let mut timelines = Vec::new();
    for _ in 0..limit {
        let mut timeline = fences.timeline(1);
        let file = fences.sync_file_at(&mut timeline, 1, 0).unwrap();
        fences.import(MEMORY, file.fences(), Usage::Read).unwrap();
        fences.put_sync_file(file);
        timelines.push(timeline);
    }
    let mut more = fences.timeline(1);
    let file = fences.sync_file_at(&mut more, 1, 0).unwrap();
    assert!(fences.import(MEMORY, file.fences(), Usage::Read).is_err());
    let first = timelines.pop().unwrap();
    fences.close(first, Ok(()), 0);
    fences.import(MEMORY, file.fences(), Usage::Read).unwrap();
}
