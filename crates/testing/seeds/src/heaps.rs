//! dma-heaps, from which programs allocate buffers that belong to no queue.

use crate::api::Arg;
use crate::plan::Dice;
use crate::run::{Check, LOST, Sim};
use crate::steps::{EMFILE, ENOMEM};
use rustix::io::pread;
use vb3_frontend::{Devices as _, Program as _};

/// DMA_HEAP_IOCTL_ALLOC, then the offsets of len, fd and fd_flags in its argument.
const ALLOC: u32 = 0xc018_4800;
const LEN: usize = 0;
const FD: usize = 8;
const FLAGS: usize = 12;
const RDWR: u32 = 2;

impl Sim<'_> {
    /// Lets a program allocate a buffer from a heap. The buffer's bytes are zero.
    pub(crate) fn allocate(&mut self, program: u32, dice: &mut Dice) -> Check {
        let Some(&heap) = dice.pick(&self.heaps) else {
            return Ok(());
        };
        let process = self.programs.get(&program).ok_or(LOST)?;
        let file = self.run.open(heap, 2, process.origin());
        let file = file.map_err(|e| format!("open of a heap: errno {}", e.0))?;
        let len = 4096 << dice.below(5);
        let mut arg = Arg::new(24, &[(LEN, len), (FLAGS, RDWR)]);
        let done = self.call((file, program), ALLOC, (&mut arg, None), None)?;
        self.run.release(file);
        self.note(|| format!("program {program} allocates {len} bytes at {heap:?}: {done:?}"));
        // The first heap allocates from all memory, and each of the others from a part of it.
        let is_small = self.heaps.first() != Some(&heap);
        match done {
            Ok(_) => {}
            Err(EMFILE) => return Ok(()),
            Err(ENOMEM) if self.disturbed || is_small => return Ok(()),
            Err(errno) => return Err(format!("DMA_HEAP_IOCTL_ALLOC: errno {errno}")),
        }
        // CAST: keeps the descriptor's bits.
        let fd = arg.u32(FD) as i32;
        let memory = self.number();
        let shared = self.process(program)?.shared(fd);
        let shared = shared.ok_or("a heap gave a number that is no descriptor")?;
        shared.memory.set(memory);
        let mut bytes = vec![1; len as usize];
        let read = pread(&shared.fd, &mut bytes, 0);
        let is_zero = read == Ok(bytes.len()) && bytes.iter().all(|byte| *byte == 0);
        is_zero
            .then_some(())
            .ok_or_else(|| format!("memory of {heap:?} is not zero"))
    }
}
