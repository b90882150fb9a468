//! Programs with arbitrary calls on a display card: every call returns or waits. Once the files are closed, no memory
//! is held except that of the pictures on the screen.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use std::collections::BTreeSet;
use vb3_drm::{
    BufferId, CallContext, Card, Config, Errno, FORMATS, FenceId, FileId, Memory, Mode, Outcome,
    Program,
};

const BASE: u64 = 0x1_0000;
const BYTES: usize = 0x4000;

#[derive(Debug, Arbitrary)]
struct Call {
    file: u8,
    number: u8,
    words: [u32; 26],
    noise: Vec<u8>,
    at: u16,
    passes_ms: u8,
}

struct World {
    memory: Vec<u8>,
    buffers: BTreeSet<BufferId>,
    next: u64,
    files: Vec<FileId>,
}

impl World {
    fn range(addr: u64, len: usize) -> Result<std::ops::Range<usize>, Errno> {
        let start = addr
            .checked_sub(BASE)
            .and_then(|at| usize::try_from(at).ok());
        let end = start
            .and_then(|start| start.checked_add(len))
            .filter(|end| *end <= BYTES);
        Ok(start.ok_or(Errno(14))?..end.ok_or(Errno(14))?)
    }
}

impl Memory for World {
    fn release(&mut self, buffer: BufferId) {
        assert!(self.buffers.remove(&buffer), "a buffer that the card has");
    }
    fn is_written(&self, buffer: BufferId) -> bool {
        buffer.0 % 7 == 3
    }
    fn is_pending(&self, fence: FenceId) -> bool {
        fence.0.is_multiple_of(3)
    }
    fn release_fence(&mut self, _: FenceId) {}
    fn signal(&mut self, _: usize, _: u64) {}
}

impl Program for World {
    fn memory(&mut self) -> &mut dyn Memory {
        self
    }
    fn is_root(&self) -> bool {
        true
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        out.copy_from_slice(&self.memory[Self::range(addr, out.len())?]);
        Ok(())
    }
    fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.memory[Self::range(addr, data.len())?].copy_from_slice(data);
        Ok(())
    }
    fn pid(&self) -> u32 {
        1
    }
    fn allocate(&mut self, _: u64) -> Result<BufferId, Errno> {
        self.next += 1;
        self.buffers.insert(BufferId(self.next));
        Ok(BufferId(self.next))
    }
    fn import(&mut self, fd: i32) -> Result<(BufferId, u64), Errno> {
        let id = BufferId(u64::try_from(fd).map_err(|_| Errno(9))? % 32);
        self.buffers.insert(id);
        Ok((id, 1 << 22))
    }
    fn export(&mut self, buffer: BufferId, _: bool, _: u64) -> Result<i32, Errno> {
        i32::try_from(buffer.0).map_err(|_| Errno(24))
    }
    fn sync_file(&mut self, fd: i32) -> Result<FenceId, Errno> {
        u64::try_from(fd).map(FenceId).map_err(|_| Errno(22))
    }
    fn out_fence(&mut self, _: usize, seqno: u64, _: u64) -> Result<i32, Errno> {
        i32::try_from(seqno).map_err(|_| Errno(24))
    }
    fn install_file(&mut self, file: FileId, _: bool, _: u64) -> Result<i32, Errno> {
        self.files.push(file);
        Ok(9)
    }
}

vb3_fuzz::target!(|calls: Vec<Call>| {
    let mut card = Card::new(Config {
        driver: "vkms".to_owned(),
        description: "fuzzed".to_owned(),
        unique: "vkms".to_owned(),
        formats: FORMATS.iter().map(|format| format.code).collect(),
        modes: vec![Mode::new(64, 64, 60, true)],
        connectors: 2,
        overlays: 1,
        scales: true,
        ..Config::default()
    });
    let files = Vec::new();
    let mut world = World {
        memory: vec![0; BYTES],
        buffers: BTreeSet::new(),
        next: 32,
        files,
    };
    for _ in 0..2 {
        let file = card.open(1, true).expect("room for files");
        world.files.push(file);
    }
    let mut now_ns = 0;
    for (number, call) in calls.iter().take(500).enumerate() {
        let noise = call
            .noise
            .get(..call.noise.len().min(512))
            .unwrap_or_default();
        let _ = world.write(BASE + u64::from(call.at) * 8, noise);
        let bytes: Vec<u8> = call
            .words
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        world.write(BASE, &bytes).expect("room");
        let file = world.files[usize::from(call.file) % world.files.len()];
        let cx = CallContext {
            file,
            call: number as u64,
            now_ns,
            nonblocking: call.at & 1 != 0,
        };
        let request = 3 << 30 | 104 << 16 | u32::from(b'd') << 8 | u32::from(call.number);
        if card.ioctl(cx, request, BASE, &mut world) == Outcome::Wait {
            card.abandon(cx.call);
        }
        now_ns += u64::from(call.passes_ms) * 1_000_000;
        card.advance(now_ns, &mut world, &|_| true);
        card.take_shown();
    }
    for file in std::mem::take(&mut world.files) {
        card.close(file, &mut world);
    }
    for _ in 0..3 {
        now_ns += 2_000_000_000;
        card.advance(now_ns, &mut world, &|_| true);
        card.take_shown();
        card.collect(&mut world);
    }
    // At most the planes' framebuffers stay: those that were closed while they were shown.
    assert!(world.buffers.len() <= 6 * 3, "{:?}", world.buffers);
});
