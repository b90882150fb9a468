//! The parent's side of a worker. The parent is the process that owns the worker.
//!
//! The parent trusts no message of the worker, and waits only for lent memory. A worker that crashes, hangs
//! or breaks the protocol is ended, and the parent gets the reason. If the worker is
//! writing to lent memory, `take_back` waits at most half a second and then kills the worker; `try_take_back` leaves the
//! memory to the worker.

use crate::job::{Chroma, Config, Event, Job, Kind, PlanesMut, Refused, StreamFormat};
use crate::launch::{Failure, Launch, Ready};
use crate::loan::{self, INPUT_LEN};
use crate::process::Running;
use crate::shm::Shared;
use crate::slots::{Layout, Link, NO_SLOT, Packet, Picture, Ring, copy};
use crate::socket::Received;
use crate::wire::{Message, Op, VERSION};
use crate::words::{config_to_words, field_from_word, format_from_words};
use crate::{MAX_IN_FLIGHT, MAX_INPUT, OUTPUT_SLOTS};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

mod loans;

/// Maximum number of unanswered jobs without data. No reasonable host submits more.
const MAX_CONTROL: usize = 32;
/// Maximum number of messages without an event that one poll reads, so that no poll takes long.
const MAX_SILENT: usize = 64;
/// Maximum number of polls in sequence that do not read the socket, because the worker has counted no new message.
/// The next poll reads the socket nevertheless, to find messages that the worker has not counted, and the worker's
/// end.
const MAX_UNLOOKED: u32 = 15;
/// Maximum number of output memories of a worker.
/// Each set-up of an encoder adds a memory. The first packet after a set-up removes the older ones.
const MAX_RINGS: usize = 4;

/// A codec in a process, or in a thread for tests. Dropping the worker ends it.
#[derive(Debug)]
pub struct Worker {
    kind: Kind,
    link: Arc<Link>,
    running: Running,
    /// Exists from the time when the process has closed its socket. It is readable once the process has ended.
    ending: Option<OwnedFd>,
    input: Shared,
    /// The tag of each input slot that is in use.
    in_flight: [Option<u64>; MAX_IN_FLIGHT],
    /// Output memory. After a new set-up, an encoder may still use its previous memory.
    rings: Vec<Arc<Ring>>,
    generation: u64,
    /// The format announced by the worker, until the host submits [`Job::Proceed`].
    announced: Option<StreamFormat>,
    /// Size of the pictures.
    layout: Option<Layout>,
    /// The input slot of the picture or data that was begun, and its bytes, until it is submitted.
    filling: Option<(usize, usize)>,
    drains: usize,
    flushes: usize,
    is_set_up: bool,
    loans: loans::Loans,
    state: State,
    /// Name of the started program, for messages.
    program: String,
    /// Whether the worker has sent its version, and it is the same as here.
    agrees: bool,
    /// Number of messages received since the first, modulo 2^32.
    received: u32,
    /// Number of polls since a poll last read the socket.
    unlooked: u32,
    /// A message about the versions, if they differ.
    mismatch: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    /// The worker was ended for this reason, which `poll` has not reported yet.
    Dying(&'static str),
    Dead,
}

impl Worker {
    /// Begins to start a worker. Jobs wait until the worker has started.
    /// If the program cannot be started, the worker reports [`Event::Died`].
    ///
    /// # Errors
    /// ENODEV if `launch` has no library with the codec; else the system's error.
    pub fn spawn(kind: Kind, launch: &Launch) -> Result<Self, Failure> {
        launch.check(kind)?;
        let input = Shared::new(INPUT_LEN).map_err(|e| Failure::system("memfd", e))?;
        let Ready { socket, running } = launch.start()?;
        // CAST: at most MAX_THREADS.
        let threads = launch.threads() as u64;
        let hello = Message::new(Op::Hello, &[kind.to_number(), VERSION, threads]);
        // If the process has already ended, the first poll finds that out.
        match socket.send(&hello, Some(input.fd()), false) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(e) => return Err(Failure::system("sendmsg", e)),
        }
        Ok(Self {
            kind,
            link: Arc::new(Link::new(socket)),
            running,
            ending: None,
            input,
            in_flight: [None; MAX_IN_FLIGHT],
            rings: Vec::new(),
            generation: 0,
            announced: None,
            layout: None,
            filling: None,
            drains: 0,
            flushes: 0,
            is_set_up: false,
            loans: loans::Loans::default(),
            state: State::Alive,
            program: launch.name(),
            agrees: false,
            received: 0,
            unlooked: 0,
            mismatch: None,
        })
    }

    /// Returns the process id, for messages. `None` before the process has started, after it has ended, and
    /// for a worker without its own process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.id()
    }

    /// Returns a descriptor that is readable when [`poll`](Self::poll) has an event.
    /// The descriptor is also readable when the process has ended. It changes when [`is_ending`](Self::is_ending)
    /// changes.
    #[must_use]
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        let ending = self.ending.as_ref().map(AsFd::as_fd);
        ending.unwrap_or(self.link.socket.fd())
    }

    /// Returns whether the process has closed its socket, but has not ended yet.
    #[must_use]
    pub const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Returns how many jobs with data may be submitted now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.in_flight.iter().filter(|slot| slot.is_none()).count()
    }

    /// Submits a job. Its data is copied.
    ///
    /// # Errors
    /// The job was refused; the reason says whether to try again.
    pub fn submit(&mut self, job: Job<'_>) -> Result<(), Refused> {
        match job {
            Job::Configure(config) => self.configure(config),
            Job::Decode { tag, data } => {
                self.begin_data(data.len())?;
                let to = self.data().filter(|to| to.len() == data.len());
                to.ok_or(Refused::Wrong("the input cannot be copied"))?
                    .copy_from_slice(data);
                self.decode_data(tag)
            }
            Job::Encode {
                tag,
                picture,
                force_key,
            } => {
                let layout = self
                    .layout
                    .ok_or(Refused::Wrong("the encoder has no size yet"))?;
                if (picture.width, picture.height) != (layout.width, layout.height) {
                    return Err(Refused::Wrong(
                        "the picture has another size than configured",
                    ));
                }
                self.begin_picture()?;
                let to = self.picture();
                if !to.is_some_and(|to| copy(&layout, &picture, to.data)) {
                    self.filling = None;
                    return Err(Refused::Wrong("a plane is shorter than the picture"));
                }
                self.encode_picture(tag, force_key)
            }
            Job::Drain => {
                self.control(&Message::new(Op::Drain, &[]), self.drains)?;
                self.drains += 1;
                Ok(())
            }
            Job::Flush => {
                self.control(&Message::new(Op::Flush, &[]), self.flushes)?;
                self.flushes += 1;
                self.announced = None;
                Ok(())
            }
            Job::Proceed(chroma) => self.proceed(chroma, false),
            Job::ProceedByLoan(chroma) => self.proceed(chroma, true),
        }
    }

    /// Reserves memory for `len` bytes of data to decode.
    ///
    /// The caller writes the bytes to [`data`](Self::data), in one or more steps, and submits them by
    /// [`decode_data`](Self::decode_data). There is one such memory at a time: it is dropped when another one is begun.
    ///
    /// # Errors
    /// No memory was reserved; the reason says whether to try again.
    pub fn begin_data(&mut self, len: usize) -> Result<(), Refused> {
        if self.kind.encodes() {
            return Err(Refused::Wrong("an encoder takes pictures"));
        }
        if len > MAX_INPUT {
            return Err(Refused::TooLong {
                found: len,
                limit: MAX_INPUT,
            });
        }
        self.filling = Some((self.free_slot()?, len));
        Ok(())
    }

    /// Returns the memory of [`begin_data`](Self::begin_data); `None` if none was begun.
    pub fn data(&mut self) -> Option<&mut [u8]> {
        let (slot, len) = self.filling?;
        self.input.bytes_mut(slot * MAX_INPUT, len)
    }

    /// As [`Job::Decode`], with the bytes in the memory of [`begin_data`](Self::begin_data).
    ///
    /// # Errors
    /// The job was refused, and the memory is dropped.
    pub fn decode_data(&mut self, tag: u64) -> Result<(), Refused> {
        let begun = self.filling.take();
        let (slot, len) = begun.ok_or(Refused::Wrong("no data was begun"))?;
        let message = Message::new(Op::Decode, &[tag, slot as u64, len as u64]);
        self.launch_input(slot, tag, &message)
    }

    /// Reserves memory for one picture to encode.
    ///
    /// The caller writes the picture by [`picture`](Self::picture), in one or more steps, and submits it by
    /// [`encode_picture`](Self::encode_picture). There is one such picture at a time: it is dropped when
    /// another one is begun, or when the encoder is set up again.
    ///
    /// # Errors
    /// No memory was reserved; the reason says whether to try again.
    pub fn begin_picture(&mut self) -> Result<(), Refused> {
        match (self.kind.encodes(), self.layout) {
            (false, _) => Err(Refused::Wrong("a decoder takes streams")),
            (_, None) => Err(Refused::Wrong("the encoder has no size yet")),
            (true, Some(layout)) => {
                self.filling = Some((self.free_slot()?, layout.len()));
                Ok(())
            }
        }
    }

    /// Returns the picture of [`begin_picture`](Self::begin_picture) with its content so far.
    /// The picture is I420 of the configured size without gaps. `None` if no picture was begun.
    pub fn picture(&mut self) -> Option<PlanesMut<'_>> {
        let layout = self.layout?;
        let to = self.data();
        Some(PlanesMut {
            width: layout.width,
            height: layout.height,
            data: layout.split_mut(to?)?,
            strides: layout.strides(),
        })
    }

    /// As [`Job::Encode`], with the picture of [`begin_picture`](Self::begin_picture).
    ///
    /// # Errors
    /// The job was refused, and the picture is dropped.
    pub fn encode_picture(&mut self, tag: u64, force_key: bool) -> Result<(), Refused> {
        let begun = self.filling.take();
        let (slot, _) = begun.ok_or(Refused::Wrong("no picture was begun"))?;
        let message = Message::new(Op::Encode, &[tag, slot as u64, u64::from(force_key)]);
        self.launch_input(slot, tag, &message)
    }

    fn free_slot(&self) -> Result<usize, Refused> {
        if self.state != State::Alive {
            return Err(Refused::Dead);
        }
        let free = self.in_flight.iter().position(Option::is_none);
        free.ok_or(Refused::Full(MAX_IN_FLIGHT))
    }

    fn launch_input(&mut self, slot: usize, tag: u64, message: &Message) -> Result<(), Refused> {
        self.send(message, None)?;
        if let Some(entry) = self.in_flight.get_mut(slot) {
            *entry = Some(tag);
        }
        Ok(())
    }

    fn configure(&mut self, config: Config) -> Result<(), Refused> {
        let (words, layout) = config_to_words(self.kind, config).map_err(Refused::Wrong)?;
        if self.is_set_up && self.kind.is_set_up_once() {
            return Err(Refused::Wrong("this codec is set up once in its process"));
        }
        let Some(layout) = layout else {
            self.send(&Message::new(Op::Configure, &words), None)?;
            self.is_set_up = true;
            return Ok(());
        };
        if self.in_flight.iter().all(Option::is_none) {
            // The worker has no picture left to encode, so no packet in an older ring can follow.
            self.rings.clear();
        }
        if self.rings.len() >= MAX_RINGS {
            return Err(Refused::Full(MAX_RINGS));
        }
        let ring = self.new_ring(layout.len() * 2 + (1 << 16), Chroma::Planar)?;
        let mut words = words.to_vec();
        words.extend([ring.generation, ring.slot_len as u64]);
        self.send(&Message::new(Op::Configure, &words), Some(ring.memory.fd()))?;
        (self.layout, self.filling) = (Some(layout), None);
        self.rings.push(ring);
        self.is_set_up = true;
        Ok(())
    }

    fn proceed(&mut self, chroma: Chroma, by_loan: bool) -> Result<(), Refused> {
        let format = self
            .announced
            .ok_or(Refused::Wrong("no format waits for the host"))?;
        let (width, height) = (format.visible.width, format.visible.height);
        let layout = Layout::with_bits(width, height, format.bits)
            .ok_or(Refused::Wrong("no format waits for the host"))?;
        let ring = self.new_ring(layout.len(), chroma)?;
        let (slot_len, chroma) = (ring.slot_len as u64, chroma as u64);
        let words = [ring.generation, slot_len, chroma, by_loan.into()];
        self.send(&Message::new(Op::Proceed, &words), Some(ring.memory.fd()))?;
        self.announced = None;
        self.layout = Some(layout);
        self.rings = vec![ring];
        Ok(())
    }

    fn new_ring(&mut self, slot_len: usize, chroma: Chroma) -> Result<Arc<Ring>, Refused> {
        self.generation += 1;
        Ring::new(&self.link, self.generation, slot_len, chroma)
            .map(Arc::new)
            .map_err(|_| Refused::Wrong("no memory for pictures"))
    }

    fn control(&mut self, message: &Message, unanswered: usize) -> Result<(), Refused> {
        if unanswered >= MAX_CONTROL {
            return Err(Refused::Full(MAX_CONTROL));
        }
        self.send(message, None)
    }

    fn send(&mut self, message: &Message, fd: Option<BorrowedFd<'_>>) -> Result<(), Refused> {
        if self.state != State::Alive {
            return Err(Refused::Dead);
        }
        self.link.catch_up();
        match self.link.socket.send(message, fd, false) {
            Ok(()) => Ok(()),
            Err(Errno::AGAIN) => Err(Refused::Full(MAX_IN_FLIGHT)),
            // `poll` can still read the worker's final messages, and reports the worker's end after them.
            Err(_) => Err(Refused::Dead),
        }
    }

    /// Returns the worker's next event. After a `None`, wait for [`wake_fd`](Self::wake_fd).
    pub fn poll(&mut self) -> Option<Event> {
        self.link.catch_up();
        for _ in 0..MAX_SILENT {
            match self.state {
                State::Dead => return None,
                State::Dying(why) => return self.report_death(why),
                State::Alive => {}
            }
            if self.has_sent_nothing() {
                return None;
            }
            match self.link.socket.receive(false) {
                Received::Nothing => return None,
                Received::Closed => self.state = State::Dying(""),
                Received::Nonsense => self.state = State::Dying("sent nonsense"),
                Received::Message(message, _) => {
                    self.received = self.received.wrapping_add(self.agrees.into());
                    match self.event(&message) {
                        Ok(Some(event)) => return Some(event),
                        Ok(None) => {}
                        Err(why) => self.state = State::Dying(why),
                    }
                }
            }
        }
        None
    }

    /// Returns whether the worker has sent no further message, as the worker itself counts its messages in shared
    /// memory. This makes no system call. After `MAX_UNLOOKED` times, returns false even so, because a faulty worker
    /// may not count.
    fn has_sent_nothing(&mut self) -> bool {
        let sent = loan::sent(&self.input);
        let is_old = sent == self.received && sent != 0;
        let skips = is_old && self.unlooked < MAX_UNLOOKED;
        self.unlooked = if skips { self.unlooked + 1 } else { 0 };
        skips
    }

    /// Returns the worker's last event. If `why` gives no reason, the event says how the process ended; until the
    /// process has ended, this returns `None`.
    fn report_death(&mut self, why: &str) -> Option<Event> {
        let how = self.running.kill();
        let sentence = match (self.mismatch.take(), how) {
            (Some(mismatch), _) => mismatch,
            (None, _) if !why.is_empty() => format!("the codec process {why} and was ended"),
            (None, Some(how)) => how,
            (None, None) => {
                if self.ending.is_none() {
                    self.ending = self.running.end_fd();
                }
                if self.ending.is_some() {
                    return None;
                }
                // There is no descriptor to wait for the end: the process has no handle, or it has ended since the
                // first call of `kill`.
                let how = self.running.kill();
                how.unwrap_or_else(|| "the codec ended".to_owned())
            }
        };
        self.state = State::Dead;
        self.in_flight = [None; MAX_IN_FLIGHT];
        Some(Event::Died { sentence })
    }

    /// Processes the worker's first message, which contains its version.
    fn compare(&mut self, message: &Message) -> Result<(), &'static str> {
        let found = match (message.op, message.words.first()) {
            (Op::Version, Some(&VERSION)) => {
                self.agrees = true;
                return Ok(());
            }
            (Op::Version, Some(found)) => format!("version {found}, as of {}", message.text),
            _ => "an older one".to_owned(),
        };
        self.mismatch = Some(format!(
            "{} and vb3 {} are from different releases: vb3 speaks version {VERSION} of their \
             protocol, and vb3-codec speaks {found}; install both from the same release, or set \
             VB3_CODEC=none to run without vb3-codec",
            self.program,
            env!("CARGO_PKG_VERSION"),
        ));
        Err("is of another version")
    }

    /// Interprets a message. An error means that the worker is faulty.
    fn event(&mut self, message: &Message) -> Result<Option<Event>, &'static str> {
        if !self.agrees {
            return self.compare(message).map(|()| None);
        }
        let [a, b, c, d, e, f, ..] = message.words;
        // Pictures, formats and faults that arrive before the end of a pending flush are dropped.
        let stale = self.flushes > 0;
        let event = match message.op {
            Op::Consumed => {
                let slot = usize::try_from(b).ok();
                let entry = slot.and_then(|slot| self.in_flight.get_mut(slot));
                match entry {
                    Some(entry) if *entry == Some(a) => *entry = None,
                    _ => return Err("returned input that it had not received"),
                }
                Some(Event::Consumed { tag: a })
            }
            Op::Format => {
                if self.kind.encodes() {
                    return Err("sent a format that was not expected");
                }
                let format =
                    format_from_words(&message.words).ok_or("sent an impossible format")?;
                if stale {
                    return Ok(None);
                }
                self.announced = Some(format);
                Some(Event::Format(format))
            }
            Op::Picture => {
                let layout = self.layout.filter(|_| !self.kind.encodes());
                let layout = layout.ok_or("sent a picture that was not expected")?;
                let is_filled = f != 0 && c == NO_SLOT.into();
                let is_lent = f != 0 && self.loans.used(f, is_filled)?;
                if is_filled {
                    let filled = Event::Filled {
                        tag: a,
                        loan: f,
                        field: field_from_word(e),
                        damaged: d != 0,
                        copied: layout.len() as u64,
                    };
                    return Ok((is_lent && !stale).then_some(filled));
                }
                let slot = self.current(b)?.take(c, layout.len() as u64);
                let slot = slot.ok_or("sent a picture in a slot it does not have")?;
                // A picture whose loan was revoked is dropped.
                (!stale && is_lent == (f != 0)).then_some(Event::Picture {
                    tag: a,
                    loan: is_lent.then_some(f),
                    picture: Picture {
                        slot,
                        layout,
                        field: field_from_word(e),
                    },
                    damaged: d != 0,
                })
            }
            Op::Packet => {
                if !self.kind.encodes() {
                    return Err("sent a packet that was not expected");
                }
                let slot = self.current(b)?.take(c, d);
                let slot = slot.ok_or("sent a packet in a slot it does not have")?;
                (!stale).then_some(Event::Packet {
                    tag: a,
                    data: Packet(slot),
                    key: e != 0,
                })
            }
            Op::Drained => {
                self.drains = self.drains.checked_sub(1).ok_or("drained unasked")?;
                Some(Event::Drained)
            }
            Op::Flushed => {
                self.flushes = self.flushes.checked_sub(1).ok_or("flushed unasked")?;
                Some(Event::Flushed)
            }
            Op::Corrupt => (!stale).then(|| Event::Corrupt {
                tag: a,
                sentence: message.text.clone(),
            }),
            Op::Unsupported => {
                let is_lent = b != 0 && self.loans.used(b, false)?;
                (!stale && is_lent == (b != 0)).then(|| Event::Unsupported {
                    tag: a,
                    loan: is_lent.then_some(b),
                    sentence: message.text.clone(),
                })
            }
            _ => return Err("sent nonsense"),
        };
        Ok(event)
    }

    /// Returns the output memory of a generation. Drops older memory, which the worker no longer uses.
    fn current(&mut self, generation: u64) -> Result<&Arc<Ring>, &'static str> {
        let mut rings = self.rings.iter();
        let used = rings.position(|ring| ring.generation == generation);
        self.rings.drain(..used.unwrap_or(0));
        let first = self.rings.first();
        first
            .filter(|_| used.is_some())
            .ok_or("used memory that it was not given")
    }
}

const _: () = assert!(OUTPUT_SLOTS <= 32, "slots are bits of a u32");

#[cfg(test)]
mod tests;
