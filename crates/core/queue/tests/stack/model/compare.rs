//! Compares the model with the lab.

use super::{BufferHolder, Holds, MAX, Model};
use crate::lab::{Lab, bytes_of, slot_addr};
use vb3_queue::BufferState;

impl Model {
    pub(crate) fn compare(&self, lab: &mut Lab) {
        for side in [0, 1] {
            self.compare_side(lab, side);
        }
        for (at, (mem, _)) in self.maps.iter().enumerate() {
            let must = bytes_of(self.mems[mem].cpu);
            assert!(lab.mapped_bytes(at) == must, "other bytes in mapping {at}");
        }
        for (slot, stamp) in self.slots.iter().enumerate() {
            let mut found = bytes_of(0);
            let addr = slot_addr(slot);
            lab.user.read(addr, &mut found).unwrap();
            assert!(found == bytes_of(*stamp), "other bytes in slot {slot}");
        }
        let live = lab.mem.live();
        let count = |n: usize| n as u64;
        let refs = self.bufs.values().map(|b| b.refs).sum::<usize>();
        let users = self.streams.iter().flat_map(|s| s.buffers.values());
        let users = users.filter(|b| matches!(b.holds, Holds::User(..)));
        let mapped = self.imports.values().filter(|i| i.mapped).count();
        assert_eq!(live.memories, count(self.mems.len()), "memories");
        assert_eq!(live.bufs, count(self.bufs.len()), "dma-bufs");
        assert_eq!(live.buf_refs, count(refs), "references");
        assert_eq!(live.program_mappings, count(self.maps.len()));
        assert_eq!(live.imports, count(self.imports.len()), "imports");
        assert_eq!(live.mapped, count(mapped), "mapped attachments");
        assert_eq!(live.user_planes, count(users.count()), "user memory");
    }

    fn compare_side(&self, lab: &mut Lab, side: usize) {
        let stream = &self.streams[side];
        let queue = &lab.sides[side].queue;
        assert_eq!(queue.num_buffers() as usize, stream.buffers.len());
        assert_eq!(queue.queued_count() as usize, stream.out());
        assert_eq!(queue.memory(), stream.memory);
        assert_eq!(queue.is_streaming(), stream.streaming);
        assert_eq!(queue.is_started(), stream.started);
        assert_eq!(queue.is_waiting(), stream.sleeper);
        let mut session = lab.sides[side].session(&lab.mem);
        for index in 0..MAX {
            let found = session.querybuf(index);
            let Some(buffer) = stream.buffers.get(&index) else {
                assert_eq!(found.map_err(|e| e.errno()).expect_err("no such"), 22);
                continue;
            };
            let found = found.expect("there");
            let state = match buffer.place {
                BufferHolder::Program => (BufferState::Dequeued, None),
                BufferHolder::Queue => (BufferState::Queued, None),
                BufferHolder::Device => (BufferState::Active, None),
                BufferHolder::Done { error: false, last } => (BufferState::Done, Some(last)),
                BufferHolder::Done { error: true, last } => (BufferState::Error, Some(last)),
            };
            let last = state.1.is_some().then_some(found.last);
            assert_eq!((found.state, last), state, "{side} {index}");
            assert_eq!(found.error, found.state == BufferState::Error);
            let prepared = buffer.prepared && buffer.place == BufferHolder::Program;
            assert_eq!(found.prepared, prepared, "{side} {index}");
            assert_eq!(found.hints, buffer.hints, "{side} {index}");
            let mapped = match buffer.holds {
                Holds::Own(mem) => self.mems[&mem].bufs + self.mems[&mem].maps > 0,
                _ => false,
            };
            assert_eq!(found.mapped, mapped, "{side} {index}");
        }
        self.compare_tokens(lab, side);
    }

    /// Asserts that the device has exactly the model's buffers, and sees the expected bytes in them.
    fn compare_tokens(&self, lab: &mut Lab, side: usize) {
        let mut has = Vec::new();
        for at in lab.live_tokens(side) {
            let token = &lab.sides[side].engine.tokens[at];
            let index = token.index();
            let cookie = token.plane(0).expect("live").expect("a plane").cookie;
            let found = lab.device_read(side, cookie).expect("reached");
            let must = bytes_of(self.seen(side, index));
            assert!(
                found == must,
                "the device sees other bytes at {side} {index}"
            );
            has.push(index);
        }
        has.sort_unstable();
        let owned = self.streams[side].buffers.iter();
        let owned = owned.filter(|(_, b)| b.place == BufferHolder::Device);
        let owned: Vec<u32> = owned.map(|(index, _)| *index).collect();
        assert_eq!(has, owned, "tokens of side {side}");
    }
}
