//! A codec that misbehaves on purpose, to test the parent process of a worker.

use super::{Codec, Out, Stop};
use crate::job::{Config, Planes, StreamFormat};
use crate::slots::Layout;
use crate::wire::{Message, Op};
use std::sync::mpsc::{Sender, channel};

/// A codec that commits the fault that its input names:
/// - `abort`, `exit`: it ends.
/// - `hang`: it waits without end.
/// - `memory`: it allocates without end.
/// - `nonsense`: it sends bytes that are no message.
/// - `lie`: it sends a picture that it did not write.
/// - `escape`: it tries to leave the sandbox.
/// - `format`: it sends a format without a picture.
/// - `hold`: it writes to a loan without end.
pub(crate) struct Harm;

/// Tries to leave the sandbox in five ways.
/// The exit status has a leading 1 bit, followed by one bit for each way, which is 1 if the way worked.
fn escape() -> ! {
    let parent = rustix::process::getppid();
    let freed = [
        std::fs::File::open("/proc/self/status").is_ok(),
        std::net::UdpSocket::bind("127.0.0.1:0").is_ok(),
        std::process::Command::new("/bin/true").status().is_ok(),
        parent.is_some_and(|p| rustix::process::test_kill_process(p).is_ok()),
        std::thread::Builder::new().spawn(|| ()).is_ok(),
    ];
    let code = freed
        .iter()
        .fold(1, |code, free| code << 1 | i32::from(*free));
    std::process::exit(code)
}

/// A codec that starts a thread at set-up. At the first input, the thread tries to leave the sandbox.
/// If no thread could be started, inputs are reported as corrupt.
#[derive(Default)]
pub(crate) struct InThread(Option<Sender<()>>);

impl Codec for InThread {
    fn configure(&mut self, _: Config) {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().spawn(move || {
            if receiver.recv().is_ok() {
                escape();
            }
        });
        self.0 = thread.is_ok().then_some(sender);
    }

    fn decode(&mut self, tag: u64, _: &[u8], out: &mut Out) -> Result<(), Stop> {
        match self.0.as_ref().map(|thread| thread.send(())) {
            // The other thread ends the process.
            Some(Ok(())) => loop {
                std::thread::yield_now();
            },
            _ => out.corrupt(tag, "no thread could be started"),
        }
    }
}

impl Codec for Harm {
    fn decode(&mut self, _tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        match data {
            b"abort" => std::process::abort(),
            b"exit" => std::process::exit(7),
            b"hang" => loop {
                std::thread::park();
            },
            b"memory" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(vec![1u8; 16 << 20]);
                }
            }
            b"nonsense" => out
                .socket
                .send_bytes(b"\xffnonsense", None, true)
                .map_err(|_| Stop::Gone),
            b"escape" => escape(),
            b"format" => out.format(&StreamFormat::of_size(16, 16)),
            b"hold" => {
                let loan = out.claim()?.ok_or(Stop::Gone)?;
                for value in (0..=u8::MAX).cycle() {
                    let plane = [value; 256];
                    let picture = Planes {
                        width: 16,
                        height: 16,
                        data: [&plane; 3],
                        strides: [16; 3],
                    };
                    let layout = Layout::new(16, 16).ok_or(Stop::Gone)?;
                    loan.write(&layout, &picture);
                }
                Ok(())
            }
            b"lie" => out.send(&Message::new(Op::Picture, &[1, 1, 1])),
            _ => Ok(()),
        }
    }
}
