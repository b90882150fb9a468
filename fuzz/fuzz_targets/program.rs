//! A real program under the front end, with arbitrary system calls on devices: the front end reads arbitrary iovecs,
//! message headers, poll and epoll entries, paths and sets of descriptors from the program's memory. The run ends with
//! the program, and nothing is held afterwards.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use vb3_devices::spec::DeviceSpec;
use vb3_fuzz::random::Steps;
use vb3_fuzz::wire::played;
use vb3_intercept::{Leftover, Options, Program};
use vb3_machine::Profile;
use vb3_run::{Outside, Run};

const DEVICES: [&str; 2] = ["camera=pattern,size=64x48,pace=free", "loopback,size=64x48"];
/// The program opens those that it can. It changes only these files.
const PATHS: [&str; 6] = [
    "/dev/video0",
    "/dev/video1",
    "/dev/video2",
    "/dev/media0",
    "/dev/dma_heap/system",
    "/sys/class/video4linux/video0",
];

const MAX_TIME: Duration = Duration::from_secs(60);

/// An argument, or a word of a structure.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Small(i8),
    /// One of the program's files.
    File(u8),
    /// An address in the program's memory. Behind its last byte is a page that cannot be read.
    Address(u16),
    /// An address so many bytes before the memory's end.
    NearEnd(u8),
    Bit(u8),
    /// An ioctl of V4L2.
    Request {
        number: u8,
        size: u8,
    },
    Any(u64),
}

impl Value {
    /// Returns what `caller.c` makes the word of.
    fn words(self) -> [u64; 2] {
        match self {
            Self::Small(value) => [0, i64::from(value).cast_unsigned()],
            Self::File(which) => [1, which.into()],
            Self::Address(at) => [2, u64::from(at) & !7],
            Self::NearEnd(bytes) => [2, 0x4000 - u64::from(bytes)],
            Self::Bit(bit) => [0, 1 << (bit % 64)],
            Self::Request { number, size } => {
                let size = u64::from(size) * 8;
                [
                    0,
                    3 << 30 | size << 16 | u64::from(b'V') << 8 | u64::from(number),
                ]
            }
            Self::Any(value) => [0, value],
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Bytes { at: u16, bytes: [u8; 96] },
    Word { at: u16, value: Value },
    Path { at: u16, which: u8 },
    Call { which: u8, arguments: [Value; 6] },
}

impl Step {
    fn record(self) -> [u64; 14] {
        let mut record = [0; 14];
        match self {
            Self::Bytes { at, bytes } => {
                record[1] = at.into();
                for (word, bytes) in record[2..].iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *word = u64::from_ne_bytes(*bytes);
                }
            }
            Self::Word { at, value } => {
                (record[0], record[1]) = (1, u64::from(at) & !7);
                record[2..4].copy_from_slice(&value.words());
            }
            Self::Path { at, which } => record[..3].copy_from_slice(&[2, at.into(), which.into()]),
            Self::Call { which, arguments } => {
                (record[0], record[1]) = (3, which.into());
                for (pair, value) in record[2..].as_chunks_mut::<2>().0.iter_mut().zip(arguments) {
                    *pair = value.words();
                }
            }
        }
        record
    }
}

/// Returns the compiled `caller.c`.
fn caller() -> &'static PathBuf {
    static CALLER: OnceLock<PathBuf> = OnceLock::new();
    CALLER.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/caller.c");
        let binary = temporary("caller");
        let mut compiler = Command::new("gcc");
        compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o"]);
        let compiled = compiler.arg(&binary).arg(source).status();
        assert!(compiled.expect("gcc").success(), "{source} is compiled");
        binary
    })
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vb3-fuzz-{}-{name}", std::process::id()))
}

vb3_fuzz::target!(|steps: Steps<Step>| {
    let caller = caller();
    let text =
        "name = \"fuzz\"\nram = \"64MiB\"\ndma_mask = 32\ncoherent = true\ncma = \"16MiB\"\n";
    let profile = Profile::parse(text).expect("a profile of our own");
    let devices = DEVICES.map(|text| text.parse::<DeviceSpec>().expect("a device of our own"));
    let start = Instant::now();
    let clock = move || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut run = Run::with(profile, &devices, 1, Outside::new(clock, played())).expect("a run");
    let list = temporary("calls");
    let records = steps.0.iter().flat_map(|step| step.record());
    let bytes: Vec<u8> = records.flat_map(u64::to_ne_bytes).collect();
    std::fs::write(&list, bytes).expect("room for the calls");
    let program = Program::new(caller).arg(&list).args(PATHS);
    let options = Options {
        notes: None,
        keep_signals: true,
        leftover: Leftover::Kill,
    };
    let ended = vb3_intercept::run(&program, &mut run, options).expect("the program starts");
    assert_ne!(ended.status, 2, "the program cannot read its calls");
    // The program's own alarm ends it after 300 ms; the machine may be busy.
    assert!(start.elapsed() < MAX_TIME, "{ended:?} late");
    let held = run.report().held;
    assert!(held.is_empty(), "{held:?}");
});
