//! The end of a simulation: faults stop, every device must return frames, and no memory or file may remain.

use crate::api::Model;
use crate::model::{At, BufferHolder};
use crate::plan::{Dice, Pace};
use crate::run::{Check, Sim};
use vb3_frontend::Devices as _;
use vb3_machine::Faults;
use vb3_run::LeftOver;

/// Number of buffers that each queue must return at the end of a simulation.
const ENOUGH: u32 = 3;
/// Number of ticks within which the queues must return these buffers.
const MOST_TICKS: u32 = 400;
/// Longest time in nanoseconds by which the simulation moves its own clock (`Pace::Given`) in one step.
const STEP_NS: u64 = 40_000_000;

impl Sim<'_> {
    pub(crate) fn end(&mut self) -> Check {
        self.note(|| "faults end".to_owned());
        self.counts.faults += self.run.machine().injected_faults();
        self.run.machine_mut().set_faults(Faults::Off);
        self.run.machine_mut().set_unmap_faults(Faults::Off);
        for at in 0..self.nodes.len() {
            if !self.nodes[at].present {
                self.plug(at, true)?;
            }
        }
        self.progress()?;
        self.start_anew()?;
        self.close_everything()
    }

    /// Checks that each camera stream with queued buffers continues, unless a fault disturbed the run.
    fn progress(&mut self) -> Check {
        let mut dice = Dice::new(self.plan.seed, 2);
        for file in 0..self.files.len() {
            let at = (file, 0);
            let is_camera = self.node_of(at)?.is_camera() && !self.file(file)?.dead;
            let goes = |sim: &Self| {
                let queue = sim.queue(at).ok()?;
                (queue.streaming && queue.queued() >= 3).then_some(queue.taken)
            };
            let Some(before) = goes(self).filter(|_| is_camera && !self.disturbed) else {
                continue;
            };
            for tick in 0.. {
                if self.queue(at)?.taken > before {
                    break;
                }
                if tick >= MOST_TICKS {
                    return Err(format!("the stream of {at:?} does not continue"));
                }
                self.dequeue(at, &mut dice)?;
                self.run_due_work()?;
                self.pass(STEP_NS)?;
            }
        }
        Ok(())
    }

    /// Checks that every device but a loopback works for a program that starts now.
    fn start_anew(&mut self) -> Check {
        self.kill_all()?;
        self.run_due_work()?;
        let Some(&program) = self.programs.keys().next() else {
            return Ok(());
        };
        self.revoked = false;
        self.disturbed = false;
        for node in 0..self.nodes.len() {
            let tested = &self.nodes[node];
            if tested.is_camera() || tested.name == "display" || tested.is_mem2mem() {
                self.expect_frames(program, node)?;
            }
        }
        self.expect_pictures(program, &mut Dice::new(self.plan.seed, 7))
    }

    fn kill_all(&mut self) -> Check {
        let programs: Vec<u32> = self.programs.keys().copied().collect();
        programs
            .into_iter()
            .try_for_each(|program| self.kill(program))
    }

    fn expect_frames(&mut self, program: u32, node: usize) -> Check {
        let Some(file) = self.open_node(program, node)? else {
            return Err("a device that is plugged in cannot be opened".to_owned());
        };
        let mut dice = Dice::new(self.plan.seed, 3);
        let queues = self.queues_of(file)?;
        for &at in &queues {
            if !self.request(at, Model::Mmap, 4, false)? || !self.fill(at, &mut dice)? {
                return Err(format!("no buffers for node {node} after all faults"));
            }
            if !self.stream(at, true)? {
                return Err(format!("node {node} does not stream after all faults"));
            }
        }
        for _ in 0..MOST_TICKS {
            let has_enough = |at: &At| self.queue(*at).is_ok_and(|queue| queue.taken >= ENOUGH);
            if queues.iter().all(has_enough) {
                return self.close(file);
            }
            for &at in &queues {
                self.dequeue(at, &mut dice)?;
                self.run_due_work()?;
                self.fill(at, &mut dice)?;
                // A decoder ends the stream when it finds the format of the pictures.
                if !self.queue(at)?.streaming {
                    self.stream(at, true)?;
                }
            }
            self.pass(STEP_NS)?;
        }
        Err(format!(
            "node {node} returns no buffers after all faults: {:?}",
            self.file(file)?.queues
        ))
    }

    /// Queues all buffers that the program holds. Returns whether the queue has buffers.
    fn fill(&mut self, at: At, dice: &mut Dice) -> Check<bool> {
        for _ in 0..8 {
            if self.queue(at)?.at(BufferHolder::Program).is_empty() {
                return Ok(true);
            }
            self.enqueue(at, dice, false)?;
            self.run_due_work()?;
        }
        Ok(self.queue(at)?.queued() > 0)
    }

    /// Closes all files, and checks that the stack then holds no memory or other resource.
    fn close_everything(&mut self) -> Check {
        self.kill_all()?;
        // In these ticks, lazy flushes and delayed frees complete.
        for _ in 0..4 {
            self.run.tick();
        }
        let left = self.run.left_over();
        let exposed = self.run.machine().exposed_pages();
        if exposed > 0 {
            return Err(format!(
                "devices still reach {exposed} pages of freed memory"
            ));
        }
        let mut rest = left;
        if self.plan.unmap_faults && left.mapper.quarantined_bytes > 0 {
            self.note(|| format!("{} bytes stay quarantined", left.mapper.quarantined_bytes));
            rest = without_quarantine(left)?;
        }
        if rest != LeftOver::default() {
            return Err(format!("still held: {left:?}"));
        }
        if self.plan.pace == Pace::Virtual {
            let own = self.run.own_time();
            self.counts.time_ns = own.map_or(0, |own| own.now_ns - own.origin_ns);
        }
        Ok(())
    }
}

/// Returns the leftovers without the pages, pins and bounce slots that stay quarantined because unmaps failed.
///
/// # Errors
/// More bytes of memory are left over than are quarantined.
fn without_quarantine(left: LeftOver) -> Check<LeftOver> {
    let most = left.mapper.quarantined_bytes;
    if left.machine.ram_bytes + left.machine.cma_bytes > most {
        return Err(format!("{most} bytes are quarantined, more held: {left:?}"));
    }
    let mut rest = left;
    rest.mapper.quarantined_bytes = 0;
    rest.mapper.bounce_bytes = 0;
    (rest.held.pages, rest.held.bounce_bytes) = (0, 0);
    (rest.machine.ram_bytes, rest.machine.cma_bytes) = (0, 0);
    (rest.machine.objects, rest.machine.pins) = (0, 0);
    rest.machine.iommu_pages = 0;
    Ok(rest)
}

#[cfg(test)]
mod tests;
