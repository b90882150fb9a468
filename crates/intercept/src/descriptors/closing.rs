//! Calls that end or copy descriptors of devices, known before the kernel makes them.
//!
//! The filter notifies those that concern a kept number. A close is made by the kernel itself; what
//! must be gone before it is taken away first: the entries of epoll sets. A copy onto a kept number
//! is made here, so that it cannot meet a descriptor that is being given out.

use std::time::{Duration, Instant};

use vb3_host::FdIdentity;

use super::files::Watched;

/// How long after a close of which nothing else is heard its numbers are looked at.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// How often a close that has not been made yet is looked at: a thread may wait for a processor.
const LOOKS: u32 = 100;

/// CLOSE_RANGE_CLOEXEC.
pub(crate) const CLOSES_NOTHING: i32 = 1 << 2;

/// A process, and the numbers that it closes, the last one included.
pub(crate) type Closes = (u32, (u32, u32));

/// A call that closes descriptors, let through and not known to be over.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) tid: u32,
    pub(crate) process: u32,
    /// Numbers that it closes, the last one included.
    pub(crate) numbers: (u32, u32),
    /// Files that it may close for good, out of their epoll sets meanwhile.
    pub(crate) files: Vec<Closed>,
    pub(crate) since: Instant,
    pub(crate) looks: u32,
}

impl Closing {
    /// Whether there is no more to wait for, by what its numbers name. One that the kernel refused
    /// leaves them as they were, and is over after the last look.
    pub(crate) fn is_over(&mut self, is_open: impl Fn(u32, &Closed) -> bool) -> bool {
        if self.since.elapsed() < PATIENCE {
            return false;
        }
        self.looks += 1;
        self.since = Instant::now();
        let tid = self.tid;
        self.looks >= LOOKS || !self.files.iter().any(|file| is_open(tid, file))
    }
}

/// A file, by the descriptor that is being closed.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) file: Watched,
    pub(crate) number: i32,
    pub(crate) id: FdIdentity,
}

/// The closes under way.
#[derive(Debug, Default)]
pub(crate) struct Closings(pub(crate) Vec<Closing>);

impl Closings {
    /// Time until [`take`](Self::take) gives something up.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let first = self.0.iter().map(|close| close.since).min()?;
        Some(PATIENCE.saturating_sub(first.elapsed()))
    }

    /// The files of closes that are over: those of a thread that calls anew, and those after
    /// which the thread's numbers name something else.
    pub(crate) fn take(
        &mut self,
        tid: Option<u32>,
        is_open: impl Fn(u32, &Closed) -> bool,
    ) -> Vec<Watched> {
        let mut files = Vec::new();
        self.0.retain_mut(|close| {
            let over = Some(close.tid) == tid || close.is_over(&is_open);
            if over {
                files.extend(close.files.drain(..).map(|closed| closed.file));
            }
            !over
        });
        files
    }

    /// The processes and the numbers that they close.
    pub(crate) fn numbers(&self) -> Vec<Closes> {
        let all = self.0.iter();
        all.map(|close| (close.process, close.numbers)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing_of(tid: u32, file: Watched) -> Closing {
        let id = FdIdentity { dev: 1, ino: 2 };
        Closing {
            tid,
            process: tid,
            numbers: (700, 700),
            files: vec![Closed {
                file,
                number: 700,
                id,
            }],
            since: Instant::now().checked_sub(PATIENCE).unwrap(),
            looks: 0,
        }
    }

    /// A program whose processor is taken from it closes later than anyone waits.
    #[test]
    fn a_close_that_is_not_made_yet_is_not_over() {
        let file = Watched::Buffer(FdIdentity { dev: 1, ino: 2 });
        let mut closings = Closings(vec![closing_of(7, file)]);
        assert_eq!(closings.take(None, |tid, _| tid == 7), []);
        closings.0[0].since -= PATIENCE;
        assert_eq!(
            closings.take(None, |_, closed| closed.number != 700),
            [file]
        );
        // A call of the same thread says at once that it is over.
        closings.0.push(closing_of(7, file));
        closings.0[0].since = Instant::now();
        assert_eq!(closings.take(Some(7), |_, _| true), [file]);
        assert!(closings.0.is_empty());
    }

    /// dup2 of a closed number onto an open one: refused by the kernel, and nothing is closed.
    #[test]
    fn a_close_that_the_kernel_refused_is_over_in_the_end() {
        let file = Watched::Buffer(FdIdentity { dev: 1, ino: 2 });
        let mut closings = Closings(vec![closing_of(7, file)]);
        let mut looks = 0;
        while closings.take(None, |_, _| true).is_empty() {
            looks += 1;
            assert!(looks < LOOKS);
            closings.0[0].since -= PATIENCE;
        }
        assert_eq!(looks, LOOKS - 1);
    }
}
