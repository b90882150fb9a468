//! What a worker process may use.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Most address space, in bytes: pictures of the largest size, 16 of them held, several times over.
const ADDRESS_SPACE: u64 = 2 << 30;
/// Most CPU time for one job, in seconds.
const JOB_SECONDS: u64 = 20;

fn lower(resource: Resource, limit: u64) -> Result<(), Errno> {
    let before = getrlimit(resource);
    let limit = before.maximum.map_or(limit, |most| most.min(limit));
    let both = Some(limit);
    setrlimit(
        resource,
        Rlimit {
            current: both,
            maximum: both,
        },
    )
}

/// Limits this process for good: it dies with its parent, leaves no core file, opens no files,
/// starts no processes, gains no privileges.
pub(crate) fn enter() -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    lower(Resource::Core, 0)?;
    lower(Resource::As, ADDRESS_SPACE)?;
    lower(Resource::Fsize, 0)?;
    Ok(())
}

/// Gives the next job its time: past it, SIGXCPU ends the process.
pub(crate) fn begin_job() {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let used = u64::try_from(now.tv_sec).unwrap_or(0);
    let maximum = getrlimit(Resource::Cpu).maximum;
    let until = used.saturating_add(JOB_SECONDS);
    let current = Some(maximum.map_or(until, |most| most.min(until)));
    let _ = setrlimit(Resource::Cpu, Rlimit { current, maximum });
}
