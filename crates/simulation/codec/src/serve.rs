//! The worker's main loop: receives jobs from the parent (the process with the `Worker`), and runs the codec.

use crate::job::{Chroma, Config, Field, Kind, Planes, StreamFormat};
use crate::limits;
use crate::loan::{self, INPUT_LEN};
use crate::shm::Shared;
use crate::slots::{Layout, NO_SLOT, pack};
use crate::socket::{Received, Socket};
use crate::wire::{Message, Op, VERSION};
use crate::words::{CONFIG_WORDS, chroma_from_word, config_from_words, format_to_words, layout_of};
use crate::{MAX_IN_FLIGHT, MAX_INPUT, MAX_THREADS, OUTPUT_SLOTS};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;

mod harm;
mod loans;

pub(crate) use harm::{Harm, InThread};
use loans::{Loan, Loans};

/// Value of `Out::free` when all slots are free.
const ALL_FREE: u32 = ((1u64 << OUTPUT_SLOTS) - 1) as u32;

/// Why a codec must stop in the middle of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The parent wants all pending output dropped.
    Flush,
    /// The parent has ended, or violates the protocol.
    Gone,
}

/// A codec. It passes its pictures, packets and faults to `out`, in order.
#[expect(unused_variables, reason = "default methods ignore their arguments")]
pub trait Codec {
    /// Lets the codec use `count` threads. The codec must start them now, because the process can start no thread
    /// later. If `count` is more than one, this method is called before all others.
    fn use_threads(&mut self, count: usize) {}
    /// Sets up the codec. The parent has checked the settings.
    fn configure(&mut self, config: Config) {}
    /// Decodes a piece of a stream.
    ///
    /// # Errors
    /// Only those that `out` returned.
    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        out.corrupt(tag, "this codec takes pictures")
    }
    /// Encodes a picture.
    ///
    /// # Errors
    /// Only those that `out` returned.
    fn encode(
        &mut self,
        tag: u64,
        picture: &Planes<'_>,
        force_key: bool,
        out: &mut Out,
    ) -> Result<(), Stop> {
        out.corrupt(tag, "this codec takes streams")
    }
    /// Passes all pending output to `out`. By default, there is none.
    ///
    /// # Errors
    /// Only those that `out` returned.
    fn drain(&mut self, out: &mut Out) -> Result<(), Stop> {
        Ok(())
    }
    /// Returns whether output is pending only because the codec works on several pieces at once.
    fn is_ahead(&self) -> bool {
        false
    }
    /// Passes that output to `out`. It is called while no further job waits, so that no picture waits for a later one.
    ///
    /// # Errors
    /// Only those that `out` returned.
    fn catch_up(&mut self, out: &mut Out) -> Result<(), Stop> {
        Ok(())
    }
    /// Drops all pending output.
    fn flush(&mut self, out: &mut Out) {}
}

/// Makes the codec for a worker's kind; `None` if the kind is unsupported.
pub type MakeCodec = fn(Kind) -> Option<Box<dyn Codec>>;

/// As [`serve_stdin`](crate::serve_stdin), with codecs of another library.
#[must_use]
pub fn serve_stdin_with(make: MakeCodec) -> ExitCode {
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => serve_with(socket, make),
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve_with(socket: OwnedFd, make: MakeCodec) -> ExitCode {
    if limits::apply().is_err() {
        return ExitCode::from(2);
    }
    run(Socket::new(socket), true, make)
}

/// Serves as [`serve_stdin`](crate::serve_stdin) does, but on another socket. The process also does other work, so it
/// gets no limits.
pub(crate) fn serve_here(socket: OwnedFd, make: MakeCodec) {
    run(Socket::new(socket), false, make);
}

fn run(socket: Socket, limited: bool, make: MakeCodec) -> ExitCode {
    let Received::Message(hello, Some(memory)) = socket.receive(true) else {
        return ExitCode::from(3);
    };
    if !check_version(&socket, &hello) {
        return ExitCode::from(5);
    }
    let input = Shared::open(memory, INPUT_LEN).map(Arc::new);
    let kind = Kind::from_number(hello.words[0]).filter(|_| hello.op == Op::Hello);
    // Some libraries start threads when the codec is configured. A process with one of them is confined only
    // after the next job, which is Op::Configure.
    let is_open = limited && kind.is_some_and(Kind::is_set_up_once);
    let (Ok(input), Some(mut codec)) = (input, kind.and_then(make)) else {
        return ExitCode::from(4);
    };
    let threads = usize::try_from(hello.words[2]).unwrap_or(1);
    if threads > 1 {
        codec.use_threads(threads.min(MAX_THREADS));
    }
    // No untrusted input has been read yet.
    if limited && !is_open && limits::confine().is_err() {
        return ExitCode::from(2);
    }
    let mut server = Server {
        input: Arc::clone(&input),
        codec,
        layout: None,
        is_open,
        out: Out {
            socket,
            limited,
            pieces: Cell::new(0),
            waiting: VecDeque::new(),
            ring: None,
            free: 0,
            input,
            bits: 8,
            loans: Loans::default(),
        },
    };
    while let Ok((message, fd)) = server.next() {
        server.out.begin_piece();
        if server.job(&message, fd) == Err(Stop::Gone) {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// Sends the version of this program's messages. Returns whether the parent has the same version.
fn check_version(socket: &Socket, hello: &Message) -> bool {
    let own = env!("CARGO_PKG_VERSION");
    let [_, found, ..] = hello.words;
    let answer = if found == 0 {
        // A parent that is too old to send a version shows this text to the user as the stream's failure.
        let sentence = format!(
            "vb3-codec {own} and vb3 are from different releases: vb3-codec speaks version {VERSION} of \
             their protocol, and vb3 is older than these versions; install both from the same release"
        );
        Message::new(Op::Unsupported, &[]).with_text(&sentence)
    } else {
        let program = format!("vb3-codec {own}");
        Message::new(Op::Version, &[VERSION]).with_text(&program)
    };
    socket.send(&answer, None, true).is_ok() && found == VERSION
}

struct Server {
    input: Arc<Shared>,
    codec: Box<dyn Codec>,
    /// Size of the pictures to encode.
    layout: Option<Layout>,
    /// Whether the process may still start threads, until `confine`.
    is_open: bool,
    out: Out,
}

impl Server {
    /// Confines the process, unless it is confined already. It can then start no threads. Called after the first
    /// job if that job configures the codec, otherwise before the first job.
    fn confine(&mut self) -> Result<(), Stop> {
        if std::mem::take(&mut self.is_open) {
            limits::confine().map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }

    /// Returns the next job, in order. Before it waits for one, the codec passes on what it can.
    fn next(&mut self) -> Result<(Message, Option<OwnedFd>), Stop> {
        if self.codec.is_ahead() && !self.out.has_job()? {
            self.out.begin_piece();
            // A flush that has just arrived is the next job.
            if self.codec.catch_up(&mut self.out) == Err(Stop::Gone) {
                return Err(Stop::Gone);
            }
        }
        self.out.next()
    }

    fn job(&mut self, message: &Message, fd: Option<OwnedFd>) -> Result<(), Stop> {
        let [a, b, c, ..] = message.words;
        if message.op != Op::Configure {
            self.confine()?;
        }
        match message.op {
            Op::Configure => {
                let config = config_from_words(&message.words[..CONFIG_WORDS]).ok_or(Stop::Gone)?;
                self.layout = layout_of(&config);
                self.codec.configure(config);
                self.confine()?;
                let [generation, slot_len] = message.words[CONFIG_WORDS..CONFIG_WORDS + 2] else {
                    return Err(Stop::Gone);
                };
                match fd {
                    Some(fd) => {
                        let chroma = Chroma::Planar;
                        self.out
                            .set_ring(Some(fd), (generation, slot_len), chroma, false)
                    }
                    None => Ok(()),
                }
            }
            Op::Decode => {
                let done = self.decode(a, b, c);
                self.consumed(done, a, b)
            }
            Op::Encode => {
                let done = self.encode(a, b, c != 0);
                self.consumed(done, a, b)
            }
            Op::Drain => {
                if !self.out.flushing() && self.codec.drain(&mut self.out) == Err(Stop::Gone) {
                    return Err(Stop::Gone);
                }
                self.out.send(&Message::new(Op::Drained, &[]))
            }
            Op::Flush => {
                self.codec.flush(&mut self.out);
                self.out.send(&Message::new(Op::Flushed, &[]))
            }
            _ => Err(Stop::Gone),
        }
    }

    /// Gives an input slot back to the parent, no matter whether its bytes were used or dropped.
    fn consumed(&mut self, done: Result<(), Stop>, tag: u64, slot: u64) -> Result<(), Stop> {
        if done == Err(Stop::Gone) {
            return done;
        }
        self.out.send(&Message::new(Op::Consumed, &[tag, slot]))
    }

    fn bytes(input: &Shared, slot: u64, len: usize) -> Option<&[u8]> {
        let slot = usize::try_from(slot).ok()?;
        if slot >= MAX_IN_FLIGHT || len > MAX_INPUT {
            return None;
        }
        input.bytes(slot * MAX_INPUT, len)
    }

    fn decode(&mut self, tag: u64, slot: u64, len: u64) -> Result<(), Stop> {
        let len = usize::try_from(len).map_err(|_| Stop::Gone)?;
        let data = Self::bytes(&self.input, slot, len).ok_or(Stop::Gone)?;
        if self.out.flushing() {
            return Ok(());
        }
        let done = self.codec.decode(tag, data, &mut self.out);
        self.out.begin_piece();
        done
    }

    fn encode(&mut self, tag: u64, slot: u64, force_key: bool) -> Result<(), Stop> {
        let layout = self.layout.ok_or(Stop::Gone)?;
        let bytes = Self::bytes(&self.input, slot, layout.len()).ok_or(Stop::Gone)?;
        if self.out.flushing() {
            return Ok(());
        }
        let picture = Planes {
            width: layout.width,
            height: layout.height,
            data: layout.split(bytes).ok_or(Stop::Gone)?,
            strides: layout.strides(),
        };
        self.codec.encode(tag, &picture, force_key, &mut self.out)
    }
}

/// Memory that is shared with the parent, for finished pictures or packets, in slots of equal size.
#[derive(Debug)]
struct Ring {
    memory: Shared,
    generation: u64,
    slot_len: usize,
    chroma: Chroma,
    /// Whether each picture needs a loan: the parent's permission to write one picture.
    by_loan: bool,
}

/// The codec's output to the parent, and the memory for it.
#[derive(Debug)]
pub struct Out {
    socket: Socket,
    /// Whether this process got limits at the start.
    limited: bool,
    /// How often [`begin_piece`](Self::begin_piece) was called, for tests.
    pieces: Cell<u64>,
    /// Jobs that arrived during a wait for another message.
    waiting: VecDeque<(Message, Option<OwnedFd>)>,
    ring: Option<Ring>,
    /// Slots that may be written, one bit for each.
    free: u32,
    /// Bits of a sample in the most recently announced format.
    bits: u8,
    /// The input's memory, which also contains the state words of loans.
    input: Arc<Shared>,
    loans: Loans,
}

impl Out {
    /// Returns the next job, in order.
    fn next(&mut self) -> Result<(Message, Option<OwnedFd>), Stop> {
        loop {
            if let Some(next) = self.waiting.pop_front() {
                return Ok(next);
            }
            self.receive()?;
        }
    }

    /// Returns whether a job has arrived.
    fn has_job(&mut self) -> Result<bool, Stop> {
        while self.waiting.is_empty() {
            match self.socket.receive(false) {
                Received::Message(message, fd) => self.handle(message, fd)?,
                Received::Nothing => return Ok(false),
                _ => return Err(Stop::Gone),
            }
        }
        Ok(true)
    }

    /// Waits for a message. Handles a message about output memory or loans. If the message is a job, keeps the job
    /// for later.
    fn receive(&mut self) -> Result<(), Stop> {
        match self.socket.receive(true) {
            Received::Message(message, fd) => self.handle(message, fd),
            _ => Err(Stop::Gone),
        }
    }

    fn handle(&mut self, message: Message, fd: Option<OwnedFd>) -> Result<(), Stop> {
        match message.op {
            Op::Release => {
                let [generation, slot, ..] = message.words;
                let ring = self.ring.as_ref();
                if ring.is_some_and(|r| r.generation == generation) && slot < OUTPUT_SLOTS as u64 {
                    self.free |= 1 << slot;
                }
            }
            Op::Proceed => {
                let [generation, slot_len, chroma, by_loan, ..] = message.words;
                let chroma = chroma_from_word(chroma);
                self.set_ring(fd, (generation, slot_len), chroma, by_loan != 0)?;
            }
            Op::Map => self.loans.map(message.words[0], fd)?,
            Op::Unmap => self.loans.unmap(&self.input),
            Op::Lend => self.loans.push(&message, &self.input)?,
            _ => self.waiting.push_back((message, fd)),
        }
        Ok(())
    }

    fn set_ring(
        &mut self,
        memory: Option<OwnedFd>,
        (generation, slot_len): (u64, u64),
        chroma: Chroma,
        by_loan: bool,
    ) -> Result<(), Stop> {
        let slot_len = usize::try_from(slot_len).map_err(|_| Stop::Gone)?;
        let len = slot_len.checked_mul(OUTPUT_SLOTS).ok_or(Stop::Gone)?;
        let memory = Shared::open(memory.ok_or(Stop::Gone)?, len).map_err(|_| Stop::Gone)?;
        self.ring = Some(Ring {
            memory,
            generation,
            slot_len,
            chroma,
            by_loan,
        });
        self.free = ALL_FREE;
        Ok(())
    }

    /// Returns whether a flush is pending, so that current results will be dropped.
    fn flushing(&self) -> bool {
        self.waiting
            .iter()
            .any(|(message, _)| message.op == Op::Flush)
    }

    fn send(&self, message: &Message) -> Result<(), Stop> {
        loan::count_sent(&self.input);
        self.socket
            .send(message, None, true)
            .map_err(|_: Errno| Stop::Gone)?;
        if message.op == Op::Picture {
            // A piece of input may have thousands of pictures, for which the CPU time of one job is not enough.
            self.begin_piece();
        }
        Ok(())
    }

    /// Gives the codec the CPU time of a whole job again. A job that decodes many earlier pieces once more calls
    /// this before each of these pieces.
    pub fn begin_piece(&self) {
        self.pieces.set(self.pieces.get() + 1);
        if self.limited {
            limits::begin_job();
        }
    }

    /// Returns how often [`begin_piece`](Self::begin_piece) was called, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn pieces(&self) -> u64 {
        self.pieces.get()
    }

    /// Reports damaged input.
    ///
    /// # Errors
    /// The codec must stop.
    pub fn corrupt(&mut self, tag: u64, sentence: &str) -> Result<(), Stop> {
        self.send(&Message::new(Op::Corrupt, &[tag]).with_text(sentence))
    }

    /// Reports a picture that the codec cannot decode.
    ///
    /// # Errors
    /// The codec must stop.
    pub fn unsupported(&mut self, tag: u64, sentence: &str) -> Result<(), Stop> {
        let loan = self.claim()?.map(|loan| self.release_loan(loan));
        let words = [tag, loan.unwrap_or(0)];
        self.send(&Message::new(Op::Unsupported, &words).with_text(sentence))
    }

    /// Announces pictures of a format, and waits until the parent accepts them.
    ///
    /// # Errors
    /// The codec must stop.
    pub fn format(&mut self, format: &StreamFormat) -> Result<(), Stop> {
        self.send(&Message::new(Op::Format, &format_to_words(format)))?;
        let before = self.ring.as_ref().map(|ring| ring.generation);
        while self.ring.as_ref().map(|ring| ring.generation) == before {
            if self.flushing() {
                return Err(Stop::Flush);
            }
            self.receive()?;
        }
        self.bits = format.bits;
        Ok(())
    }

    /// If pictures use loans, waits for a loan and claims it.
    fn claim(&mut self) -> Result<Option<Loan>, Stop> {
        while self.ring.as_ref().is_some_and(|ring| ring.by_loan) {
            // A flush ends the wait for a loan, because the loans that the parent makes after the flush are for
            // later pictures.
            if self.flushing() {
                return Err(Stop::Flush);
            }
            if let Some(loan) = self.loans.claim(&self.input) {
                return Ok(Some(loan));
            }
            self.receive()?;
        }
        Ok(None)
    }

    /// Releases a loan after the last write, and returns the loan's number.
    fn release_loan(&self, loan: Loan) -> u64 {
        loan::release(&self.input, loan.number);
        loan.number
    }

    /// Waits for a free slot.
    fn slot(&mut self) -> Result<u32, Stop> {
        while self.free == 0 {
            if self.flushing() {
                return Err(Stop::Flush);
            }
            self.receive()?;
        }
        Ok(self.free.trailing_zeros())
    }

    /// Sends the parent a picture of the most recently announced format, in a loan or a slot.
    ///
    /// # Errors
    /// The codec must stop.
    pub fn picture(
        &mut self,
        tag: u64,
        damaged: bool,
        picture: &Planes<'_>,
        field: Field,
    ) -> Result<(), Stop> {
        let layout = Layout::with_bits(picture.width, picture.height, self.bits);
        let layout = layout.ok_or(Stop::Gone)?;
        let loan = self.claim()?;
        let is_written = loan.as_ref().is_some_and(|l| l.write(&layout, picture));
        let loan = loan.map_or(0, |loan| self.release_loan(loan));
        let words = |generation, slot: u32| {
            let (damaged, field) = (damaged.into(), field as u64);
            [tag, generation, slot.into(), damaged, field, loan]
        };
        if is_written {
            return self.send(&Message::new(Op::Picture, &words(0, NO_SLOT)));
        }
        let slot = self.slot()?;
        let ring = self.ring.as_mut().ok_or(Stop::Gone)?;
        let offset = slot as usize * ring.slot_len;
        let to = ring.memory.bytes_mut(offset, layout.len());
        let chroma = ring.chroma;
        let copied = to.is_some_and(|to| pack(&layout, picture, chroma, to));
        if !copied || layout.len() > ring.slot_len {
            return self.corrupt(tag, "the library gave a picture of another size");
        }
        let generation = ring.generation;
        self.free &= !(1 << slot);
        self.send(&Message::new(Op::Picture, &words(generation, slot)))
    }

    /// Sends the parent a packet, which consists of `parts` in this order.
    ///
    /// # Errors
    /// The codec must stop.
    pub fn packet(&mut self, tag: u64, key: bool, parts: &[&[u8]]) -> Result<(), Stop> {
        let slot = self.slot()?;
        let Some(ring) = self.ring.as_mut() else {
            return Err(Stop::Gone);
        };
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let offset = slot as usize * ring.slot_len;
        let to = ring.memory.bytes_mut(offset, len.min(ring.slot_len));
        let Some(mut to) = to.filter(|to| to.len() == len) else {
            return self.corrupt(tag, "the encoded picture is larger than its memory");
        };
        for part in parts {
            let (now, later) = to.split_at_mut(part.len());
            now.copy_from_slice(part);
            to = later;
        }
        let generation = ring.generation;
        self.free &= !(1 << slot);
        self.send(&Message::new(
            Op::Packet,
            &[tag, generation, slot.into(), len as u64, key.into()],
        ))
    }
}
