use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::*;
use crate::{Map, Mmap, Node, NodeId, NumberAt, Step, Tag, WakeFd};

/// Where the program's only word is.
const WORD: u64 = 0x100;

/// A device that doubles a word by which it finds a second one, and makes two descriptors.
#[derive(Default)]
struct Doubler {
    ended: Vec<Tag>,
    released: Vec<FileId>,
}

impl Devices for Doubler {
    fn nodes(&self) -> Vec<Node> {
        Vec::new()
    }
    fn open(&mut self, _: NodeId, _: i32, _: Origin) -> Result<FileId, Errno> {
        Ok(FileId(1))
    }
    fn release(&mut self, file: FileId) {
        self.released.push(file);
    }
    fn tag_ended(&mut self, tag: Tag) {
        self.ended.push(tag);
    }
    fn call(&mut self, call: &Call<'_>) -> Outcome {
        let step = Step::new(call);
        let mut at = [0; 8];
        let mut value = [0];
        let read = step.read(WORD, &mut at);
        let read = read.and_then(|()| step.read(u64::from_ne_bytes(at), &mut value));
        if let Err(errno) = read {
            return step.end(CallOutcome::Fail(errno));
        }
        let [value] = value;
        step.write(u64::from_ne_bytes(at), &[value * 2]);
        for (file, number) in [(2, NumberAt::Address(WORD)), (3, NumberAt::Result)] {
            let made = Made::File {
                file: FileId(file),
                name: c"made",
            };
            let cloexec = false;
            step.install(Install {
                made,
                cloexec,
                number,
            });
        }
        step.end(CallOutcome::Done(0))
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
        None
    }
    fn tick(&mut self) {}
    fn wake_fds(&self) -> Vec<WakeFd<'_>> {
        Vec::new()
    }
    fn take_changed(&mut self, _: &mut Vec<FileId>) {}
}

/// A program with memory from [`WORD`] on, and room for a number of descriptors.
struct Small {
    memory: RefCell<Vec<u8>>,
    room: Cell<i32>,
}

impl Small {
    fn place(&self, addr: u64, len: usize) -> Result<std::ops::Range<usize>, Errno> {
        let at = addr.checked_sub(WORD).ok_or(Errno::EFAULT)? as usize;
        let fits = at + len <= self.memory.borrow().len();
        fits.then_some(at..at + len).ok_or(Errno::EFAULT)
    }
}

impl Program for Small {
    fn origin(&self) -> Origin {
        Origin::process(1, 1)
    }
    fn call(&self) -> CallId {
        CallId(1)
    }
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let at = self.place(addr, out.len())?;
        out.copy_from_slice(&self.memory.borrow()[at]);
        Ok(())
    }
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let at = self.place(addr, data.len())?;
        self.memory.borrow_mut()[at].copy_from_slice(data);
        Ok(())
    }
    fn descriptor(&self, _: i32, _: Detail) -> Result<Descriptor, Errno> {
        Ok(Descriptor::named(FdIdentity { dev: 1, ino: 1 }, None))
    }
    fn install(&self, _: &Made, _: bool) -> Result<i32, Errno> {
        self.room.set(self.room.get() - 1);
        let number = 10 - self.room.get();
        (self.room.get() >= 0).then_some(number).ok_or(Errno(24))
    }
}

fn double(room: i32, at: u64) -> (Doubler, Small, CallOutcome) {
    let mut memory = vec![0; 16];
    memory[..8].copy_from_slice(&at.to_ne_bytes());
    memory[8] = 21;
    let program = Small {
        memory: RefCell::new(memory),
        room: Cell::new(room),
    };
    let mut devices = Doubler::default();
    let done = devices.ioctl(FileId(1), 0, 0, false, &program);
    (devices, program, done)
}

#[test]
fn call_is_gathered_in_rounds_and_carried_out() {
    let (devices, program, done) = double(2, WORD + 8);
    assert_eq!(done, CallOutcome::Done(10));
    let memory = program.memory.borrow();
    assert_eq!((memory[8], &memory[..4]), (42, &9i32.to_ne_bytes()[..]));
    assert!(devices.released.is_empty() && devices.ended.is_empty());
}

#[test]
fn what_gets_no_descriptor_has_ended() {
    let (devices, _, done) = double(1, WORD + 8);
    assert_eq!(done, CallOutcome::Fail(Errno(24)));
    assert_eq!(devices.released, [FileId(3)]);
    let (devices, _, done) = double(0, WORD + 8);
    assert_eq!(done, CallOutcome::Fail(Errno(24)));
    assert_eq!(devices.released, [FileId(2), FileId(3)]);
}

#[test]
fn unreadable_argument_changes_nothing() {
    let (devices, program, done) = double(2, 8);
    assert_eq!(done, CallOutcome::Fail(Errno::EFAULT));
    assert_eq!((program.room.get(), devices.released.len()), (2, 0));
}
