//! A guest whose RAM and queues have arbitrary contents. `vb3-guest` finishes serving it, and then holds nothing.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use vb3_codec::Launch;
use vb3_frontend::Devices as _;
use vb3_fuzz::random::Rest;
use vb3_machine::Profile;
use vb3_run::{Outside, Run};

/// The devices. The first byte selects one.
const DEVICES: [&str; 4] = [
    "camera=pattern,size=32x32,format=YUYV,pace=free",
    "display,size=32x32,pace=free",
    "convert,size=32x32",
    "loopback,size=32x32",
];
/// Bytes of guest RAM, and places in it: the queues of commands and events, answers, event buffers, commands.
const RAM: usize = 1 << 20;
const QUEUES: [[u64; 3]; 2] = [[0x1000, 0x2000, 0x3000], [0x4000, 0x5000, 0x6000]];
const ANSWERS: u64 = 0x8000;
const EVENTS: u64 = 0xa_0000;
const COMMANDS: u64 = 0x1_0000;

/// Guest RAM while it is filled.
struct Ram(Vec<u8>);

impl Ram {
    fn put(&mut self, at: u64, bytes: &[u8]) {
        let at = at as usize;
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn descriptor(&mut self, queue: usize, at: u16, (addr, len, flags): (u64, u32, u16)) {
        let mut bytes = addr.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend((at + 1).to_le_bytes());
        self.put(QUEUES[queue][0] + u64::from(at) * 16, &bytes);
    }

    fn offer(&mut self, queue: usize, number: u16, head: u16) {
        let available = QUEUES[queue][1];
        self.put(available + 4 + 2 * u64::from(number), &head.to_le_bytes());
        self.put(available + 2, &(number + 1).to_le_bytes());
    }
}

/// Takes bytes from the beginning of the input.
fn take<'a>(input: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (first, rest) = input.split_at(len.min(input.len()));
    *input = rest;
    first
}

fn byte(input: &mut &[u8]) -> u8 {
    take(input, 1).first().copied().unwrap_or(0)
}

vb3_fuzz::target!(|input: Rest| {
    let mut input = &input.0[..];
    let device = DEVICES[usize::from(byte(&mut input)) % DEVICES.len()];
    let mut ram = Ram(vec![0; RAM]);
    for number in 0..16 {
        let at = EVENTS + u64::from(number) * 1024;
        ram.descriptor(1, number, (at, 1024, 2));
        ram.offer(1, number, number);
    }
    // Each chain: its command's length, its shape, the command, and descriptors if the shape is free.
    let (mut at, mut count) = (0, 0);
    while !input.is_empty() && count < 60 {
        let (len, shape) = (usize::from(byte(&mut input)) * 4, byte(&mut input));
        let place = COMMANDS + u64::from(count) * 2048;
        let command = take(&mut input, len);
        ram.put(place, command);
        let head = at;
        if shape < 0xc0 {
            ram.descriptor(0, at, (place, command.len() as u32, 1));
            ram.descriptor(0, at + 1, (ANSWERS, 0x4000, 2));
            at += 2;
        } else {
            for _ in 0..=shape % 4 {
                let bytes: [u8; 8] = take(&mut input, 8).try_into().unwrap_or_default();
                let [a, b, c, d, e, f, g, h] = bytes;
                let offset = u64::from(u32::from_le_bytes([a, b, c & 0x1f, 0]));
                let len = u32::from_le_bytes([d, e, f & 0x3f, 0]);
                let addr = if h % 2 == 0 {
                    place + offset % 64
                } else {
                    offset
                };
                ram.descriptor(0, at, (addr, len, u16::from(g % 8)));
                at += 1;
            }
        }
        ram.offer(0, count, head);
        count += 1;
    }
    let now = AtomicU64::new(1_000_000_000);
    let outside = Outside::new(
        move || now.fetch_add(100_000, Ordering::Relaxed),
        Launch::in_thread(),
    );
    let profile = Profile::builtin("pc").expect("a machine that ships");
    let spec = device.parse().expect("a device");
    let run = Run::with(profile, &[spec], 0, outside).expect("a run");
    let node = run.nodes()[0].id;
    let run = Arc::new(Mutex::new(run));
    let devices = Arc::clone(&run);
    vb3_guest::fuzz::serve_ram(devices, node, &ram.0, QUEUES).expect("a guest");
    let held = run.lock().expect("no panic").report().held;
    let held = vb3_report::Held { fds: 0, ..held };
    assert!(held.is_empty(), "{held:?}");
});
