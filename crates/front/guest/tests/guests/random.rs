//! The same random calls in a process and in a guest. Errno, structure and arrays must be equal, apart from what
//! `without_differences` removes.

use std::mem::offset_of;

use crate::client::{BASE, Client};
use crate::guest::{Guest, is_multiplanar, words};
use crate::process::Process;
use crate::same::{hide_queue_caps, run, why};
use crate::vmm::Server;
use vb3_run::Pace;
use vb3_v4l2::sys;

/// A generator of random numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// Where the structure, its array, and what the array names lie.
const STRUCTURE: u64 = BASE + 0x10;
const ARRAY: u64 = BASE + 0x2000;
const USERS: u64 = BASE + 0x10_0000;
const ARRAY_BYTES: usize = 1024;

/// Ioctls that guests cannot make: the specification replaces them by the configuration space and events, or
/// virtio-media does not carry them.
const NOT_CARRIED: [u32; 9] = [
    sys::VIDIOC_QUERYCAP,
    sys::VIDIOC_DQBUF,
    sys::VIDIOC_DQEVENT,
    sys::VIDIOC_LOG_STATUS,
    sys::VIDIOC_EXPBUF,
    sys::VIDIOC_REMOVE_BUFS,
    sys::VIDIOC_G_EDID,
    sys::VIDIOC_S_EDID,
    // A queue that streams takes buffers and returns them at times of its own.
    sys::VIDIOC_STREAMON,
];

/// What comes of a call: errno, structure and array.
type Came = (Result<(), i32>, Vec<u8>, Vec<u8>);

/// A call: request, structure and array.
type Made = (u32, Vec<u8>, Vec<u8>);

fn calls(seed: u64, count: usize) -> Vec<Made> {
    let mut random = Random(seed);
    let requests: Vec<u32> = (0..256).filter_map(vb3_v4l2::ioctl_of_code).collect();
    let mut calls = Vec::new();
    while calls.len() < count {
        let common = [
            sys::VIDIOC_REQBUFS,
            sys::VIDIOC_CREATE_BUFS,
            sys::VIDIOC_QUERYBUF,
            sys::VIDIOC_QBUF,
            sys::VIDIOC_PREPARE_BUF,
            sys::VIDIOC_S_FMT,
            sys::VIDIOC_S_EXT_CTRLS,
            sys::VIDIOC_TRY_EXT_CTRLS,
            sys::VIDIOC_G_EXT_CTRLS,
        ];
        let request = match random.below(2) {
            0 => random.one_of(&common),
            _ => random.one_of(&requests),
        };
        if !NOT_CARRIED.contains(&request) {
            calls.push(call(request, &mut random));
        }
    }
    calls
}

/// Returns a number as calls have them: mostly small.
fn small(random: &mut Random) -> u32 {
    match random.below(6) {
        0 => random.below(1 << 32) as u32,
        1 => random.one_of(&[0x0098_0900, 0x0098_0901, 0x0098_0913, 0x0099_0001, 64, 48]),
        2 => u32::from_le_bytes(random.one_of(&[*b"YUYV", *b"NV12", *b"JPEG"])),
        _ => random.below(4) as u32,
    }
}

fn call(request: u32, random: &mut Random) -> Made {
    let size = vb3_v4l2::decode::size(request);
    let mut bytes = vec![0; size];
    for number in bytes.chunks_exact_mut(4) {
        if random.below(4) == 0 {
            number.copy_from_slice(&small(random).to_le_bytes());
        }
    }
    let mut array = vec![0; ARRAY_BYTES];
    let set = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
    };
    let type_ = random.one_of(&[1, 2, 9, 10, 1, 2, 9, 10, 77]);
    let memory = random.one_of(&[1, 1, 2, 2, 9]);
    match request {
        sys::VIDIOC_G_EXT_CTRLS | sys::VIDIOC_S_EXT_CTRLS | sys::VIDIOC_TRY_EXT_CTRLS => {
            let count = random.below(4) as u32;
            let controls = offset_of!(sys::v4l2_ext_controls, controls);
            set(
                &mut bytes,
                offset_of!(sys::v4l2_ext_controls, count),
                &words(&[count]),
            );
            set(&mut bytes, controls, &ARRAY.to_le_bytes());
            for control in array.chunks_exact_mut(20).take(count as usize) {
                control[..4].copy_from_slice(&small(random).to_le_bytes());
                control[12..16].copy_from_slice(&small(random).to_le_bytes());
                if random.below(8) == 0 {
                    control[4..8].copy_from_slice(&8_u32.to_le_bytes());
                    control[12..20].copy_from_slice(&USERS.to_le_bytes());
                }
            }
        }
        sys::VIDIOC_QUERYBUF | sys::VIDIOC_QBUF | sys::VIDIOC_PREPARE_BUF => {
            set(&mut bytes, 0, &words(&[random.below(4) as u32, type_]));
            set(
                &mut bytes,
                offset_of!(sys::v4l2_buffer, memory),
                &words(&[memory]),
            );
            let (m, length) = (
                offset_of!(sys::v4l2_buffer, m),
                offset_of!(sys::v4l2_buffer, length),
            );
            if is_multiplanar(type_) {
                set(&mut bytes, m, &ARRAY.to_le_bytes());
                set(&mut bytes, length, &words(&[random.below(9) as u32]));
                for plane in array.chunks_exact_mut(64).take(8) {
                    let len = random.one_of(&[0, 100, 6144, 1 << 14]);
                    plane[..8].copy_from_slice(&words(&[random.below(8000) as u32, len]));
                    plane[8..16].copy_from_slice(&USERS.to_le_bytes());
                }
            } else {
                set(&mut bytes, m, &USERS.to_le_bytes());
                set(
                    &mut bytes,
                    length,
                    &words(&[random.one_of(&[0, 100, 6144, 1 << 14])]),
                );
            }
        }
        sys::VIDIOC_REQBUFS => set(
            &mut bytes,
            0,
            &words(&[random.below(5) as u32, type_, memory]),
        ),
        sys::VIDIOC_CREATE_BUFS => {
            set(
                &mut bytes,
                4,
                &words(&[random.below(5) as u32, memory, type_]),
            );
            set(
                &mut bytes,
                offset_of!(sys::v4l2_create_buffers, format),
                &words(&[type_]),
            );
        }
        sys::VIDIOC_S_FMT | sys::VIDIOC_G_FMT | sys::VIDIOC_TRY_FMT => {
            set(&mut bytes, 0, &words(&[type_]));
        }
        _ => {}
    }
    (request, bytes, array)
}

/// Removes from a result what differs in a guest.
fn without_differences(request: u32, bytes: &mut [u8]) {
    match request {
        sys::VIDIOC_REQBUFS => {
            hide_queue_caps(bytes, offset_of!(sys::v4l2_requestbuffers, capabilities))
        }
        sys::VIDIOC_CREATE_BUFS => {
            hide_queue_caps(bytes, offset_of!(sys::v4l2_create_buffers, capabilities));
        }
        // readbuffers and writebuffers are 0, because read() and write() are not carried.
        sys::VIDIOC_G_PARM | sys::VIDIOC_S_PARM => {
            let at = 4 + offset_of!(sys::v4l2_captureparm, readbuffers);
            bytes[at..at + 4].fill(0);
        }
        _ => {}
    }
}

/// Makes the calls on two open files. Returns what came of each.
fn play(client: &mut dyn Client, device: usize, calls: &[Made]) -> Vec<Came> {
    let files = [client.open(device).unwrap(), client.open(device).unwrap()];
    let mut all = Vec::new();
    for (number, (request, bytes, array)) in calls.iter().enumerate() {
        client.poke(STRUCTURE, bytes);
        client.poke(ARRAY, array);
        client.poke(USERS, &[3; 16]);
        let file = files[usize::from(number % 4 == 3)];
        let done = client.ioctl(file, *request, STRUCTURE);
        let mut after = client.peek(STRUCTURE, bytes.len());
        without_differences(*request, &mut after);
        // The kernel copies a structure back only if its ioctl reads.
        if request >> 31 == 0 {
            after.clear();
        }
        all.push((done, after, client.peek(ARRAY, ARRAY_BYTES)));
    }
    for file in files {
        client.close(file);
    }
    all
}

fn compare(spec: &'static str, seed: u64, count: usize) {
    let calls = calls(seed, count);
    let mut process = Process::new(run(&[spec], Pace::Real));
    let wanted = play(&mut process, 0, &calls);
    let wanted_why = why(&process.run.report());
    let server = Server::new(move || run(&[spec], Pace::Real));
    let mut guest = Guest::new(&server, &["video0"]);
    let found = play(&mut guest, 0, &calls);
    drop(guest);
    let report = server.end();
    for ((call, wanted), found) in calls.iter().zip(&wanted).zip(&found) {
        assert!(
            wanted == found,
            "{spec} {call:?}\nprocess: {wanted:?}\nguest:   {found:?}"
        );
    }
    let succeeded = wanted.iter().filter(|(done, ..)| done.is_ok()).count();
    assert!(
        succeeded * 20 > count,
        "{spec}: only {succeeded} calls succeed"
    );
    assert_eq!(wanted_why, why(&report), "{spec}");
}

#[test]
fn random_calls_answer_both_the_same() {
    for spec in [
        "camera=pattern,size=64x48,format=YUYV",
        "camera=pattern,size=64x48,format=NV12,mplane=on",
        "display,size=64x48",
        "loopback,size=64x48",
        "jpegenc,size=64x48",
        "jpegdec,size=64x48",
        "convert,size=64x48",
    ] {
        compare(spec, 0x9e37_79b9, 600);
    }
}
