//! Guests that mean harm. Nothing hangs, memory stays bounded, other guests are served, and everything is released.

use std::time::{Duration, Instant};

use crate::guest::words;
use crate::lifecycle::{capture, expect_nothing_held, ioctl, ok, open};
use crate::random::Random;
use crate::same::run;
use crate::vmm::{COMMAND, INDIRECT, NEXT, RAM_BYTES, RINGS, Server, Setup, Vmm, WRITE, new_ram};
use vb3_guest::{Event, Options};
use vb3_run::Pace;
use vb3_v4l2::sys;
use vm_memory::{Bytes as _, GuestAddress};

/// Each kind of device, and one for a guest that means no harm.
const DEVICES: &[&str] = &[
    "camera=pattern,size=64x48,format=YUYV",
    "convert,size=64x48",
    "display,size=64x48",
    "jpegdec,size=64x48",
    "camera=pattern,size=64x48,format=YUYV",
];
const HARMLESS: &str = "video4.sock";
/// Chains that are offered at once.
const BATCH: u64 = 16;
/// Maximum number of descriptors of one chain. The ring has this many descriptors for each of its chains.
const LONGEST: u64 = 16;
/// Bytes of commands in guest RAM that change while the device reads them.
const CHANGING: u64 = 0x4000;

/// Writes a command that is nearly right.
fn write_command(vmm: &Vmm, at: u64, random: &mut Random, codes: &[u32]) {
    let session = random.below(4) as u32;
    let mut sent = match random.below(8) {
        0 => words(&[1, 0]),
        1 => words(&[
            4,
            0,
            session,
            random.below(2) as u32,
            (random.below(8) * 4096) as u32,
        ]),
        2 => words(&[5, 0, (random.below(8) * 0x1_0000) as u32, 0]),
        3 if random.below(8) == 0 => words(&[2, 0, session, 0]),
        _ => words(&[3, 0, session, random.one_of(codes) & 0xff]),
    };
    for _ in 0..random.below(60) {
        let number = match random.below(4) {
            0 => random.below(1 << 32) as u32,
            1 => 0,
            _ => random.below(5) as u32,
        };
        sent.extend(number.to_le_bytes());
    }
    vmm.ram.write_slice(&sent, GuestAddress(at)).unwrap();
}

/// Returns a chain of up to [`LONGEST`] descriptors. They point to the command at `at`, to the rings, to
/// overlapping memory, or to memory that does not exist.
fn chain(at: u64, random: &mut Random) -> Vec<(u64, u32, u16)> {
    let count = match random.below(4) {
        0 => 1 + random.below(LONGEST),
        _ => 2,
    };
    let descriptor = |number: u64, random: &mut Random| {
        let is_last = number + 1 == count;
        let addr = match random.below(12) {
            // Points to the rings: the device's answer may overwrite chains that were offered.
            0 => RINGS[random.below(2) as usize] + random.below(0x800),
            1 => random.below(1 << 62) << 2,
            2 => RAM_BYTES as u64 - random.below(64),
            _ => at + random.below(2) * random.below(64),
        };
        let len = match random.below(12) {
            0 => random.below(1 << 32) as u32,
            1 => 0,
            _ => 4 * random.below(80) as u32,
        };
        let odd = match random.below(20) {
            0 => INDIRECT,
            _ => 0,
        };
        let write = if is_last || random.below(8) == 0 {
            WRITE
        } else {
            0
        };
        let next = if is_last && random.below(8) > 0 {
            0
        } else {
            NEXT
        };
        (addr, len, write | next | odd)
    };
    (0..count)
        .map(|number| descriptor(number, random))
        .collect()
}

/// Returns how much memory this process uses, in pages.
fn pages() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Sends random chains to each device, while another guest uses its own.
fn attack(chains: u64) {
    let options = Options { dma_bufs: true };
    let server = Server::with(options, || run(DEVICES, Pace::Real));
    let before = pages();
    let mut harmless = Vmm::connect(&server.dir.join(HARMLESS));
    let mut longest = Duration::ZERO;
    for device in 0..4 {
        longest = longest.max(attack_one(&server, device, chains / 4, &mut harmless));
    }
    let grown = pages().saturating_sub(before) * 4 / 1024;
    println!("{chains} chains: grew by {grown} MiB; the other guest waited at most {longest:?}");
    assert!(grown < 1024, "{grown} MiB");
    expect_nothing_held(server.end());
}

/// Returns the longest time that the other guest took for three commands.
fn attack_one(server: &Server, device: u64, chains: u64, harmless: &mut Vmm) -> Duration {
    let codes: Vec<u32> = (0..256).filter_map(vb3_v4l2::ioctl_of_code).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 + device);
    let socket = server.dir.join(format!("video{device}.sock"));
    let mut vmm = Vmm::connect(&socket);
    let mut longest = Duration::ZERO;
    for batch in 0..chains / BATCH {
        for number in 0..BATCH {
            // Half of the commands lie where memory changes.
            let at = COMMAND + number % 2 * CHANGING + number * 512;
            write_command(&vmm, at, &mut random, &codes);
            vmm.offer((number * LONGEST) as u16, &chain(at, &mut random));
        }
        vmm.kick();
        // Memory changes between two reads of it.
        for _ in 0..200 {
            let at = COMMAND + random.below(CHANGING) / 4 * 4;
            let number = random.below(6) as u32;
            vmm.ram.write_obj(number, GuestAddress(at)).unwrap();
        }
        if batch % 16 == 0 {
            let began = Instant::now();
            use_harmlessly(harmless);
            longest = longest.max(began.elapsed());
        }
        for _ in 0..BATCH {
            vmm.used();
        }
        while vmm.event(Duration::ZERO).is_some() {}
    }
    longest
}

fn use_harmlessly(vmm: &mut Vmm) {
    let session = open(vmm);
    let format = [&words(&[1]), &[0; 204][..]].concat();
    ok(&ioctl(vmm, session, sys::VIDIOC_G_FMT, &format));
    vmm.command(&words(&[2, 0, session, 0]));
}

#[test]
fn random_chains_harm_nobody() {
    attack(40_000);
}

#[test]
#[ignore = "full: takes minutes"]
fn a_million_random_chains_harm_nobody() {
    attack(1_000_000);
}

#[test]
fn a_broken_queue_is_named_and_mended_by_a_reset() {
    let server = Server::new(|| run(DEVICES, Pace::Virtual));
    let breaks: [fn(&Vmm); 2] = [|vmm| vmm.spoil_index(1000), |vmm| vmm.offer_head(300)];
    for (socket, break_queue) in ["video0.sock", HARMLESS].into_iter().zip(breaks) {
        let socket = server.dir.join(socket);
        let mut vmm = Vmm::connect(&socket);
        open(&mut vmm);
        break_queue(&vmm);
        vmm.kick();
        server.wait_for(|note| {
            let is_broken = |text: &str| text.contains("broken until its driver resets");
            note.socket == socket && matches!(&note.event, Event::Remark(text) if is_broken(text))
        });
        vmm.reset();
        capture(&mut vmm);
    }
    server.end();
}

#[test]
fn a_driver_that_stops_in_mid_command_holds_nothing() {
    let server = Server::new(|| run(DEVICES, Pace::Real));
    let codes: Vec<u32> = (0..256).filter_map(vb3_v4l2::ioctl_of_code).collect();
    let mut random = Random(3);
    let (ram, socket) = (new_ram(), server.dir.join("video0.sock"));
    for round in 0..60 {
        let mut vmm = Vmm::try_connect(&socket, ram, &Setup::default()).unwrap();
        open(&mut vmm);
        for number in 0..BATCH {
            let at = COMMAND + number * 512;
            write_command(&vmm, at, &mut random, &codes);
            vmm.offer((number * LONGEST) as u16, &chain(at, &mut random));
        }
        vmm.kick();
        drop(vmm);
        let is_gone = |notes: &[vb3_guest::Note]| {
            let gone = notes
                .iter()
                .filter(|note| matches!(note.event, Event::Disconnected(_)));
            gone.count() > round
        };
        while !is_gone(&server.notes()) {
            std::thread::yield_now();
        }
    }
    expect_nothing_held(server.end());
}
