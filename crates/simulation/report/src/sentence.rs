//! Explains a report's entries in sentences, each with a remedy.
//! A sentence names the failed call, its device, and the constraint with its values.

mod programs;
mod run;
mod script;

pub use programs::{Program, known};
pub use run::{Table, Verdict, problems, table, verdict};
pub use script::{missed_step, script};

use crate::report::{Demand, DeviceFailure, EarlyAccess, Held, MissingSync, Refusal, Remedy, Room};
use std::fmt::Write as _;

/// One problem and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The failure and its reason, one sentence.
    pub what: String,
    /// The remedy, one sentence.
    pub hint: String,
}

/// Returns the name and meaning of an errno.
#[must_use]
pub fn errno(number: i32) -> (&'static str, &'static str) {
    match number {
        1 => ("EPERM", "not permitted"),
        2 => ("ENOENT", "no such file"),
        3 => ("ESRCH", "no such process"),
        4 => ("EINTR", "interrupted by a signal"),
        5 => ("EIO", "input/output error"),
        6 => ("ENXIO", "no such address"),
        7 => ("E2BIG", "too long"),
        9 => ("EBADF", "bad file descriptor"),
        11 => ("EAGAIN", "nothing ready"),
        12 => ("ENOMEM", "out of memory"),
        13 => ("EACCES", "access denied"),
        14 => ("EFAULT", "bad address"),
        16 => ("EBUSY", "busy"),
        17 => ("EEXIST", "there already"),
        18 => ("EXDEV", "on another device"),
        19 => ("ENODEV", "no such device"),
        20 => ("ENOTDIR", "not a directory"),
        21 => ("EISDIR", "a directory"),
        22 => ("EINVAL", "invalid argument"),
        23 => ("ENFILE", "too many open files in the system"),
        24 => ("EMFILE", "too many open files"),
        25 => ("ENOTTY", "unknown ioctl"),
        27 => ("EFBIG", "too large"),
        28 => ("ENOSPC", "no space"),
        29 => ("ESPIPE", "cannot seek"),
        30 => ("EROFS", "read-only"),
        32 => ("EPIPE", "no more buffers, or a pipeline that cannot stream"),
        34 => ("ERANGE", "out of range"),
        37 => ("ENOLCK", "no stable signal"),
        38 => ("ENOSYS", "not implemented"),
        53 => ("EBADR", "bad request"),
        61 => ("ENODATA", "no data"),
        62 => ("ETIME", "timer expired"),
        67 => ("ENOLINK", "no signal"),
        71 => ("EPROTO", "protocol error"),
        74 => ("EBADMSG", "bad message"),
        75 => ("EOVERFLOW", "too large a value"),
        77 => ("EBADFD", "file in a bad state"),
        84 => ("EILSEQ", "illegal sequence"),
        95 => ("EOPNOTSUPP", "not supported"),
        105 => ("ENOBUFS", "no buffers left"),
        107 => ("ENOTCONN", "not connected"),
        108 => ("ESHUTDOWN", "the endpoint was shut down"),
        110 => ("ETIMEDOUT", "timed out"),
        114 => ("EALREADY", "already in progress"),
        115 => ("EINPROGRESS", "in progress"),
        121 => ("EREMOTEIO", "remote memory not reachable"),
        125 => ("ECANCELED", "cancelled"),
        _ => (
            "an unexpected error",
            "vb3 has no description of this errno",
        ),
    }
}

/// Returns the name of an errno, or its number.
#[must_use]
pub fn errno_name(number: i32) -> String {
    match errno(number).0 {
        name if name.starts_with('E') => name.to_owned(),
        _ => format!("errno {number}"),
    }
}

/// Formats a time exactly, in the largest unit that fits.
#[must_use]
pub fn time(ns: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let unit = units
        .iter()
        .find(|(unit, _)| ns >= *unit && ns.is_multiple_of(unit / 1000));
    match unit {
        None => format!("{ns} ns"),
        Some((unit, name)) if ns.is_multiple_of(*unit) => format!("{} {name}", ns / unit),
        Some((unit, name)) => {
            let thousandths = format!("{:03}", ns % unit / (unit / 1000));
            format!("{}.{} {name}", ns / unit, thousandths.trim_end_matches('0'))
        }
    }
}

/// Formats a size: the exact number below 10 KiB, else three significant digits.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} {}", if count == 1 { "byte" } else { "bytes" });
    }
    let mut scale = 1024u64;
    let mut unit = "KiB";
    for name in UNITS.iter().skip(1) {
        if count / 1024 < scale {
            break;
        }
        scale = scale.saturating_mul(1024);
        unit = name;
    }
    if count.is_multiple_of(scale) {
        return format!("{} {unit}", count / scale);
    }
    if count < 10 * 1024 {
        return format!("{count} bytes");
    }
    let (whole, tenths) = (count / scale, (count % scale) * 10 / scale);
    if whole >= 100 {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{tenths} {unit}")
    }
}

fn times(n: u64) -> String {
    if n > 1 {
        format!(" ({n} times)")
    } else {
        String::new()
    }
}

/// Explains why a call was refused. `programs` are the known programs that the run has started. The hint names their
/// options that apply the remedy.
#[must_use]
pub fn refusal(refusal: &Refusal, programs: &[&Program]) -> Sentence {
    let (name, meaning) = errno(refusal.errno);
    let (why, hint) = reason(&refusal.constraint, refusal.wanted, refusal.found)
        .unwrap_or_else(|| (no_constraint(refusal, meaning), NO_HINT.to_owned()));
    let (why, hint) = match &*refusal.holder {
        "" => (why, hint),
        holder => (
            format!("{holder} has buffers of the device"),
            "release these buffers (REQBUFS with count 0), close the device there, or let that program \
             end first"
                .to_owned(),
        ),
    };
    let allocates = matches!(refusal.call.as_str(), "REQBUFS" | "CREATE_BUFS");
    let hint = match refusal.constraint.as_str() {
        "contiguous" if allocates => NO_RUN_HINT.to_owned(),
        _ => hint,
    };
    let mut what = match refusal.errno {
        0 => format!(
            "{} on {} made fewer buffers than requested",
            refusal.call, refusal.device
        ),
        _ => format!("{} on {} failed with {name}", refusal.call, refusal.device),
    };
    let _ = match &refusal.room {
        Some(found) => write!(what, "{}: {}", times(refusal.times), room(found, &why)),
        None if refusal.errno == 0 => write!(what, "{}: for one more, {why}", times(refusal.times)),
        None => write!(what, "{}: {why}", times(refusal.times)),
    };
    let hint = match &refusal.room {
        Some(Room { fits: 0, .. }) | None => hint,
        Some(Room { fits, .. }) => {
            let options = programs::counting(programs, *fits);
            format!(
                "ask for no more than {fits}{options}; or, only in vb3, leave out admission=on; or \
                 {hint}"
            )
        }
    };
    let hint = match &refusal.remedy {
        Some(found) if !found.pinned_by.is_empty() => pinned(found, refusal, programs),
        Some(found) if found.is_found() => remedy(found, refusal, programs),
        Some(none) => format!("{}; {hint}", exclusion(none)),
        None => hint,
    };
    Sentence { what, hint }
}

/// Says how many buffers fit, why one more does not, and how much memory is free.
fn room(room: &Room, why: &str) -> String {
    let Room {
        wanted,
        fits,
        free_bytes,
        longest_bytes,
        runs,
    } = *room;
    let left = match runs {
        0 => String::new(),
        1 => format!(
            "; the call released its buffers again, and {} are free, in one run",
            bytes(free_bytes)
        ),
        _ => format!(
            "; the call released its buffers again, and {} are free, in {runs} runs of at most {}",
            bytes(free_bytes),
            bytes(longest_bytes)
        ),
    };
    format!(
        "{fits} of {wanted} buffers would fit, and admission=on allocates all or none; for \
             one more, {why}{left}"
    )
}

/// Names the devices that prevent the buffer from moving to other memory.
fn pinned(found: &Remedy, refused: &Refusal, programs: &[&Program]) -> String {
    let or = match found.is_found() {
        true => format!("; or {}", remedy(found, refused, programs)),
        false => String::new(),
    };
    format!(
        "the buffer is placed lazily and could move to memory that {} reach, but {} keeps it where \
        it is: queue it here only after DQBUF there{or}",
        all_of(&found.devices),
        all_of(&found.pinned_by)
    )
}

/// Names memory that all devices can use, and how to allocate it.
fn remedy(remedy: &Remedy, refused: &Refusal, programs: &[&Program]) -> String {
    let devices = all_of(&remedy.devices);
    if remedy.heap.is_empty() && remedy.exporter.is_empty() {
        let copying = programs::copying(programs, remedy, &refused.device);
        return format!(
            "only in vb3: give {} place=lazy, so that its buffers go where {devices} reach them; \
             on the board: let {} allocate (MMAP), and copy each picture{copying}",
            remedy.lazy, refused.device
        );
    }
    let heap = format!("allocate from heap {} (/dev/dma_heap/{0})", remedy.heap);
    let own = format!(
        "let {} allocate (MMAP) and share its buffers as dma-bufs{}",
        remedy.exporter,
        programs::sharing(programs, remedy)
    );
    let from = match (remedy.heap.is_empty(), remedy.exporter.is_empty()) {
        (false, false) => format!("{heap} or {own}"),
        (false, true) => format!("{heap}{}", programs::heaps(programs)),
        (true, _) => own,
    };
    let stride = match remedy.stride_bytes {
        0 => String::new(),
        stride => format!(", stride {stride}"),
    };
    let buffers = match remedy.buffers {
        0 | 1 => String::new(),
        count => format!("{count} buffers of "),
    };
    let or_lazy = match remedy.lazy.is_empty() {
        true => String::new(),
        false => format!("; or, only in vb3, give {} place=lazy", remedy.lazy),
    };
    format!(
        "{from}, {buffers}{} bytes{stride}: that suits {devices}{or_lazy}",
        remedy.size_bytes
    )
}

/// Lists the demands that exclude each other.
fn exclusion(remedy: &Remedy) -> String {
    let devices = all_of(&remedy.devices);
    if remedy.conflict.is_empty() {
        return format!("no free memory of this machine is large enough for {devices}");
    }
    let each: Vec<String> = remedy.conflict.iter().map(demand).collect();
    format!(
        "no memory of this machine suits {devices}: {}",
        each.join(", and ")
    )
}

/// Formats a demand, and the value that would be enough.
fn demand(demand: &Demand) -> String {
    let say = |value: u64| match &*demand.constraint {
        "dma-mask" | "first-address" => format!("{value:#x}"),
        "boundary" => bytes(value.saturating_add(1)),
        _ => bytes(value),
    };
    let value = say(demand.value);
    let what = match &*demand.constraint {
        "first-address" => format!("reaches addresses from {value} on"),
        "dma-mask" => format!("reaches addresses up to {value}"),
        "contiguous" => "needs one physical run".to_owned(),
        "max-segment" => format!("accepts at most {value} in one segment"),
        "boundary" => format!("needs segments that cross no multiple of {value}"),
        "alignment" => format!("needs addresses that are multiples of {value}"),
        "iommu-granule" => format!("needs whole pages of its IOMMU, {value} each"),
        "iova-space" => format!("has {value} of I/O addresses free"),
        "segment-count" => format!("accepts at most {value} in all segments together"),
        "pages" => "needs pages behind the memory".to_owned(),
        "coherent" => "needs uncached memory".to_owned(),
        "protected" => "accepts only protected memory".to_owned(),
        "unprotected" => "has no access to private or protected memory".to_owned(),
        "stride" => format!("needs line lengths that are multiples of {value}"),
        "max-stride" => format!("accepts lines of at most {value}"),
        "buffer-size" => format!("needs buffers of {value}"),
        "size-align" => format!("needs buffers that are multiples of {value}"),
        other => format!("needs {other}, {value}"),
    };
    let enough = match demand.enough {
        Some(enough) if enough > 0 => format!(" ({} would be enough)", say(enough)),
        _ => String::new(),
    };
    format!("{} {what}{enough}", demand.device)
}

/// Joins names with commas, and the last one with "and".
fn all_of(names: &[String]) -> String {
    match names {
        [] => "the devices".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

const NO_HINT: &str = "`vb3 run --trace FILE` shows each call with its arguments, and the call's page \
                       in the V4L2 documentation lists what this error means there";

/// The remedy if the device itself found no contiguous range of addresses that is long enough for its buffers.
const NO_RUN_HINT: &str = "ask for smaller buffers, or choose a machine with an IOMMU (--machine soc-iommu), \
                           which makes scattered memory contiguous";

fn no_constraint(refusal: &Refusal, meaning: &str) -> String {
    if refusal.constraint.is_empty() {
        return meaning.to_owned();
    }
    format!(
        "the constraint \"{}\" was not met: the call needed {} and found {}",
        refusal.constraint, refusal.wanted, refusal.found
    )
}

/// Explains an unmet constraint, and returns a remedy, too. `None` for an unknown constraint.
pub fn reason(constraint: &str, wanted: u64, found: u64) -> Option<(String, String)> {
    let (w, f) = (bytes(wanted), bytes(found));
    let (why, hint) = match constraint {
        "contiguous" => (
            format!("the device needs {w} in one run of addresses and the memory gives {f}"),
            "let the device allocate (MMAP) and share its buffers as dma-bufs, or choose a machine \
             with an IOMMU (--machine soc-iommu), which makes scattered memory contiguous",
        ),
        "cma-size" => (
            format!("it asked for {w} of contiguous memory when {f} of the CMA area were free"),
            "ask for fewer or smaller buffers, release unused ones, or raise the CMA size in the \
            machine's profile (`vb3 machines NAME` prints it)",
        ),
        "ram" => (
            format!("it asked for {w} of memory when {f} were free"),
            "ask for fewer or smaller buffers, or raise the RAM in the machine's profile",
        ),
        "dma-mask" => (
            format!("the memory reaches up to {wanted:#x} and the device only up to {found:#x}"),
            "let the device allocate, or choose a machine with an IOMMU or a wider DMA mask",
        ),
        "max-segment" => (
            format!("one run of {w} is needed and the device accepts runs of at most {f}"),
            "use smaller buffers, or raise max-segment of the device (--device) or of the machine's \
             profile",
        ),
        "boundary" => (
            match found.checked_add(1) {
                Some(step) => {
                    format!(
                        "a run of addresses would cross a multiple of {}",
                        bytes(step)
                    )
                }
                None => "a run of addresses would cross the device's boundary".to_owned(),
            },
            "use smaller or aligned buffers, let the device allocate, or widen the boundary of the \
             device (--device) or of the machine's profile",
        ),
        "iova-space" => (
            format!("the mapping needs {w} of I/O addresses when {f} were free below the mask"),
            "unmap unused buffers, or widen the DMA mask in the machine's profile",
        ),
        "bounce-pool" => (
            format!("the mapping needs {w} of bounce buffers when {f} were free"),
            "raise the bounce pool in the machine's profile, or let the device allocate, which \
             needs no bouncing",
        ),
        "no-bounce" => (
            format!("{w} would have to be bounced, and this mapping cannot bounce"),
            "let this device allocate the buffer (MMAP) and export it, and import the buffer at the \
             other device",
        ),
        "user-pages" => (
            format!("the device must pin {w} of the program's memory and could pin {f}"),
            "pass memory that is mapped, and writable if the device writes to it, for the whole \
             length of the buffer",
        ),
        "alignment" => (
            format!("an alignment of {w} is needed and the address has {f}"),
            if wanted > 4096 {
                "let the device allocate (MMAP) and share its buffers as dma-bufs, or choose a \
                 machine with an IOMMU (--machine soc-iommu), which gives memory new addresses"
            } else {
                "align the memory to a page"
            },
        ),
        "iommu-granule" => (
            format!(
                "the IOMMU maps whole pages of {w}; the memory begins or ends {f} into such a \
                page, which would also expose other memory"
            ),
            "let the device allocate (MMAP) and share its buffers as dma-bufs, or choose a machine \
             whose IOMMU has pages of 4 KiB (--machine soc-iommu) or that copies through a bounce \
             pool",
        ),
        "buffer-size" => (
            format!("the format needs {w} and the buffer offered has {f}"),
            "export a buffer with at least the sizeimage that G_FMT gives at the importer",
        ),
        "size-limit" => (
            format!("it asked for {w}, and the limit is {f}"),
            "check the size in CREATE_BUFS or S_FMT: it is larger than the machine's memory",
        ),
        "pages" => (
            "the memory is a physical range with no pages behind it".to_owned(),
            "map it by physical address, or let a device with ordinary memory allocate",
        ),
        "bus-window" => (
            format!("the memory lies at {wanted:#x}, outside the window of the device's bus"),
            "let the device allocate, or widen its window (--device)",
        ),
        "protected" => (
            "the device accepts only protected memory, and this memory is not protected".to_owned(),
            "give every device that writes or reads the buffer protected=on (--device), and the \
             machine a protected area in its profile",
        ),
        "unprotected" => (
            "the memory is protected, and the device may not access protected memory".to_owned(),
            "give the device protected=on (--device), or allocate outside protected areas",
        ),
        "coherent" => (
            "the memory is cached, the device does not see the CPU's caches, and its driver never \
             syncs"
                .to_owned(),
            "let the device allocate, or give it sync=on or coherent=on (--device)",
        ),
        "coherent-region" => (
            format!("it asked for {w} of the device's own memory when {f} were free in one run"),
            "ask for fewer or smaller buffers, release unused ones, or raise sram in the \
            machine's profile",
        ),
        "cpu-mapping" => (
            format!(
                "the driver of this dma-buf ({w}) does not let the CPU map it, and simulated \
                devices need such a mapping"
            ),
            "use a buffer of a driver that offers mmap of its dma-bufs, such as udmabuf or the \
             system heap",
        ),
        "imports" => (
            format!("the queue would hold {wanted} buffers of other drivers; the limit is {found}"),
            "queue the same buffers again instead of new ones",
        ),
        "revoked" => (
            "the buffer's memory was revoked, by `vb3 ctl revoke` or when its device was unplugged"
                .to_owned(),
            "release the buffer (close its descriptors, REQBUFS 0) and allocate another one",
        ),
        "segment-count" => (
            format!("the memory lies in {wanted} pieces and the device accepts {found}"),
            "use smaller buffers, or choose a machine with an IOMMU",
        ),
        "hardware" => (
            "the hardware did not carry out a command, so a device may still reach the memory"
                .to_owned(),
            "restart the machine; until then, the memory stays allocated",
        ),
        "injected-fault" => (
            "the machine's profile injects faults, and this is one of them".to_owned(),
            "run again with the same --seed to repeat the fault",
        ),
        _ => return None,
    };
    Some((why, hint.to_owned()))
}

/// Explains a missing cache sync.
#[must_use]
pub fn missing_sync(missing: &MissingSync) -> Sentence {
    let MissingSync {
        device,
        queue,
        buffer,
        plane,
        sync,
        times: n,
    } = missing;
    let (who, flags) = match sync.as_str() {
        "for-device" => (
            "wrote to it and handed it over while the CPU's cache still held the bytes",
            "END",
        ),
        _ => (
            "read it while the CPU's cache still held old bytes",
            "START",
        ),
    };
    Sentence {
        what: format!(
            "buffer {buffer}, plane {plane} of {device} ({queue}): the program {who}{}",
            times(*n)
        ),
        hint: format!(
            "call DMA_BUF_IOCTL_SYNC with DMA_BUF_SYNC_{flags} around the access, on the dma-buf \
             itself"
        ),
    }
}

/// Explains an early access.
#[must_use]
pub fn early_access(early: &EarlyAccess) -> Sentence {
    let EarlyAccess {
        device,
        queue,
        buffer,
        plane,
        owner,
        by,
        process,
        call,
        times: n,
        ..
    } = early;
    let does = match early.owner_access.as_str() {
        "write" => "was writing",
        _ => "was reading",
    };
    let process = match process {
        // `vb3 diff` leaves out the number.
        0 => "a process".to_owned(),
        number => format!("process {number}"),
    };
    let (who, hint) = match by.is_empty() {
        true => (
            format!("{process} began to {} it ({call})", early.access),
            format!("take the buffer from {owner} first (DQBUF), or poll the dma-buf"),
        ),
        false => (
            format!("it was queued at {by}, which {}s it", early.access),
            format!(
                "wait for {owner}: take the buffer by DQBUF before you queue it elsewhere, or \
                 export a sync file of the dma-buf (DMA_BUF_IOCTL_EXPORT_SYNC_FILE) and import it \
                 (DMA_BUF_IOCTL_IMPORT_SYNC_FILE) before QBUF, which then waits"
            ),
        ),
    };
    Sentence {
        what: format!(
            "buffer {buffer}, plane {plane} of {device} ({queue}): while {owner} {does} it, \
             {who}{}",
            times(*n)
        ),
        hint,
    }
}

/// Explains a failure outside the simulated device, such as of its codec process or its recording. The sentence of
/// the failure already contains the remedy.
#[must_use]
pub fn failure(failure: &DeviceFailure) -> String {
    let DeviceFailure {
        device,
        sentence,
        times,
        recording: _,
    } = failure;
    match times {
        0 | 1 => format!("{device}: {sentence}"),
        _ => format!("{device}: {sentence} ({times} times)"),
    }
}

/// Lists the resources still held at the end; `None` if there are none.
#[must_use]
pub fn held(held: &Held) -> Option<String> {
    held_counts(held).map(|counts| format!("still held at the end: {counts}"))
}

/// Lists counts of resources held; `None` if all are zero.
pub(crate) fn held_counts(held: &Held) -> Option<String> {
    let counts = [
        (held.pages, "pages of RAM"),
        (held.iova_bytes, "bytes of I/O addresses"),
        (held.mappings, "DMA mappings"),
        (held.bounce_bytes, "bytes of bounced copies"),
        (held.buffers, "buffers"),
        (held.dmabufs, "exported dma-bufs"),
        (held.attachments, "attachments"),
        (held.files, "open device files"),
        (held.fds, "file descriptors"),
    ];
    let words: Vec<String> = counts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Formats a number with its noun in singular or plural.
fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
