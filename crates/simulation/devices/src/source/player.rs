//! The thread that plays a clip.

use crate::Failure;
use crate::choice::ClipEnd;
use crate::lock::lock;
use crate::ring::Ring;
use crate::source::probe::{LOCAL, input};
use crate::source::tool::{Stop, Tool, reason};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use vb3_picture::{Frame, Size};
use vb3_v4l2::pixfmt::{self, ColorModel};
use vb3_v4l2::{Fraction, PixelFormat};

/// Number of pictures that are kept ready.
const READY: usize = 4;
/// Maximum bytes of a looping clip's first pictures, which are kept to play while ffmpeg starts again.
const HEAD_BYTES: usize = 64 << 20;
/// Minimum number of first pictures that are kept, even if they exceed [`HEAD_BYTES`].
const HEAD_MIN: usize = 4;

/// A clip's next picture, or why it fails before its end.
pub(super) type Decoded = Result<Arc<Frame>, Failure>;

/// A file to play, and how to play it.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) format: &'static PixelFormat,
    pub(super) size: Size,
    pub(super) interval: Fraction,
    pub(super) end: ClipEnd,
    /// Whether the file is a single picture.
    pub(super) still: bool,
    /// Maximum time to wait for one picture.
    pub(super) patience: Duration,
    /// The program that decodes the file.
    pub(super) program: PathBuf,
}

impl Job {
    /// Returns the format that ffmpeg writes, and ffmpeg's name of it. If ffmpeg cannot write the wanted
    /// format, returns a format that can be converted to the wanted one.
    fn decoded(&self) -> (&'static PixelFormat, &'static str) {
        let format = self.format.in_one_plane();
        match (format.ffmpeg, format.model()) {
            (Some(name), _) => (format, name),
            (None, ColorModel::Rgb) => (&pixfmt::RGB24, "rgb24"),
            (None, ColorModel::Yuv) => (&pixfmt::YUYV, "yuyv422"),
        }
    }

    /// Returns whether the pictures that ffmpeg writes must be converted to the wanted format.
    fn converts(&self) -> bool {
        self.format.in_one_plane() != self.decoded().0
    }

    /// Returns the ffmpeg command that writes the clip's pictures to standard output. The command leaves out
    /// the first `skipped` pictures.
    fn command(&self, skipped: usize, still: bool) -> Command {
        // The rate is the inverse of the interval.
        let rate = format!("{}/{}", self.interval.denominator, self.interval.numerator);
        let mut filters = match still {
            true => String::new(),
            false => format!("fps={rate},"),
        };
        if skipped > 0 {
            filters += &format!("trim=start_frame={skipped},");
        }
        let (width, height) = (self.size.width(), self.size.height());
        let (decoded, name) = self.decoded();
        let colors = match decoded.model() {
            ColorModel::Rgb => "",
            ColorModel::Yuv => ":out_color_matrix=bt601:out_range=tv",
        };
        filters += &format!("scale={width}:{height}{colors}");
        let mut command = Command::new(&self.program);
        command
            .args(["-nostdin", "-v", "error"])
            .args(LOCAL)
            // Without this, filters would count pictures from 0 again when the stream's size changes.
            .args(["-reinit_filter", "0", "-i"])
            .arg(input(&self.path))
            .args(["-map", "0:v:0", "-vf", &filters]);
        if still {
            command.args(["-frames:v", "1"]);
        }
        command.args(["-f", "rawvideo", "-pix_fmt", name, "-"]);
        command
    }
}

/// Maximum number of clips that play or are ending. If a file system hangs, ffmpeg may not end.
const MAX_PLAYERS: usize = 1024;

/// Number of clips that play or are ending.
static PLAYERS: Mutex<usize> = Mutex::new(0);
/// Is notified when a clip has ended.
static ENDED: Condvar = Condvar::new();

/// Waits until no clip plays or is ending, for at most `timeout`. A stopped clip's thread holds
/// descriptors until ffmpeg has ended.
pub fn await_ended(timeout: Duration) {
    // Ignores a timeout: a clip may remain, because a file system that hangs delays ffmpeg's end.
    drop(ENDED.wait_timeout_while(lock(&PLAYERS), timeout, |count| *count > 0));
}

/// Counts one clip in [`PLAYERS`] as long as this value exists.
struct Counted;

impl Counted {
    fn new() -> Option<Self> {
        let mut count = lock(&PLAYERS);
        (*count < MAX_PLAYERS).then(|| {
            *count += 1;
            Self
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *lock(&PLAYERS) -= 1;
        ENDED.notify_all();
    }
}

/// Pictures whose memory the player can use again.
type Spare = Mutex<Vec<Frame>>;

/// A clip that plays. Dropping this value kills ffmpeg without waiting. The clip's thread waits for ffmpeg's
/// end, which a file system that hangs may delay.
#[derive(Debug)]
pub(super) struct Player {
    /// The queue of pictures that are ready.
    pub(super) ring: Arc<Ring<Decoded>>,
    spare: Arc<Spare>,
    /// Dropping this closes the pipe, so that the thread kills ffmpeg and ends.
    _quit: PipeWriter,
}

impl Player {
    pub(super) fn start(job: Job) -> Result<Self, Failure> {
        let counted = Counted::new().ok_or_else(|| {
            Failure::new(format!(
                "{MAX_PLAYERS} clips play or do not end; check the file systems that they lie on"
            ))
        })?;
        let ring = Ring::new(READY)?;
        let lacks = |e| Failure::new(format!("cannot start a thread for a clip: {e}"));
        let (closed, quit) = std::io::pipe().map_err(lacks)?;
        let spare = Arc::<Spare>::default();
        let (of, spares) = (Arc::clone(&ring), Arc::clone(&spare));
        let thread = std::thread::Builder::new().name("vb3-clip".to_owned());
        let thread = thread.spawn(move || {
            // Dropped last, after everything that has a descriptor.
            let _counted = counted;
            let play = Play {
                job,
                ring: of,
                quit: closed,
                spare: spares,
            };
            if let Err(Stop::Failed(failure)) = play.run() {
                let _ = play.ring.push_wait(Err(failure));
            }
            play.ring.close();
        });
        drop(thread.map_err(lacks)?);
        Ok(Self {
            ring,
            spare,
            _quit: quit,
        })
    }

    /// Returns a picture of any content, whose memory can be used.
    pub(super) fn spare(&self) -> Option<Frame> {
        lock(&self.spare).pop()
    }

    /// Takes back a picture, to use its memory for a later one. Drops a picture that is still in use.
    pub(super) fn put_back(&self, picture: Arc<Frame>) {
        let mut spare = lock(&self.spare);
        if spare.len() < READY {
            spare.extend(Arc::into_inner(picture));
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.ring.close();
    }
}

/// The state of a clip's thread.
struct Play {
    job: Job,
    ring: Arc<Ring<Decoded>>,
    quit: PipeReader,
    spare: Arc<Spare>,
}

impl Play {
    /// Plays until the clip ends, or until the owner stops it.
    fn run(&self) -> Result<(), Stop> {
        let (mut head, mut head_bytes) = (Vec::new(), 0);
        let mut last = None;
        let ends = self.job.end;
        let mut look = |number, frame: &Arc<Frame>| {
            let bytes = frame.bytes().len();
            let fits = number < HEAD_MIN || head_bytes + bytes <= HEAD_BYTES;
            if ends == ClipEnd::Loop && head.len() == number && fits {
                head_bytes += bytes;
                head.push(Arc::clone(frame));
            }
            last = Some(Arc::clone(frame));
        };
        let mut count = self.lap(self.job.still, &mut look)?;
        if count == 0 && !self.job.still {
            // The clip is shorter than half of a slow camera's interval, so it is played as a single picture.
            count = self.lap(true, &mut look)?;
        }
        if count == 0 {
            let name = self.job.path.display();
            return Err(Failure::new(format!(
                "{name} holds no picture that ffmpeg can decode; try it with \"ffplay\", or \
                 choose another file"
            ))
            .into());
        }
        match (ends, last) {
            (ClipEnd::Loop, _) => loop {
                self.lap_again(&head, count)?;
            },
            (ClipEnd::Hold, Some(frame)) => loop {
                self.push(Arc::clone(&frame))?;
            },
            _ => Ok(()),
        }
    }

    /// Plays a clip of `count` pictures again. Its first pictures come from memory, while ffmpeg decodes the
    /// rest.
    fn lap_again(&self, head: &[Arc<Frame>], count: usize) -> Result<(), Stop> {
        let rest = match head.len() < count {
            true => Some(Decoder::start(&self.job, head.len(), false)?),
            false => None,
        };
        for frame in head {
            self.push(Arc::clone(frame))?;
        }
        if let Some(mut decoder) = rest {
            while let Some(frame) = decoder.next(&self.quit, &self.spare)? {
                self.push(frame)?;
            }
            decoder.end(&self.quit)?;
        }
        Ok(())
    }

    /// Decodes the clip once. Calls `look` with each picture and its index. Returns the number of pictures.
    fn lap(&self, still: bool, mut look: impl FnMut(usize, &Arc<Frame>)) -> Result<usize, Stop> {
        let mut decoder = Decoder::start(&self.job, 0, still)?;
        let mut count = 0;
        while let Some(frame) = decoder.next(&self.quit, &self.spare)? {
            look(count, &frame);
            count += 1;
            self.push(frame)?;
        }
        decoder.end(&self.quit)?;
        Ok(count)
    }

    fn push(&self, frame: Arc<Frame>) -> Result<(), Stop> {
        let pushed = self.ring.push_wait(Ok(frame));
        pushed.map_err(|_| Stop::Quit)
    }
}

/// An ffmpeg process that decodes the clip once.
struct Decoder<'a> {
    job: &'a Job,
    tool: Tool,
    /// The picture as ffmpeg wrote it, if that is not the wanted format.
    decoded: Option<Frame>,
}

impl<'a> Decoder<'a> {
    fn start(job: &'a Job, skipped: usize, still: bool) -> Result<Self, Failure> {
        let mut command = job.command(skipped, still);
        let tool = Tool::start("ffmpeg", &mut command, job.patience)?;
        Ok(Self {
            job,
            tool,
            decoded: job
                .converts()
                .then(|| Frame::new(job.decoded().0, job.size)),
        })
    }

    /// Returns the next picture; `None` at the clip's end.
    fn next(&mut self, quit: &PipeReader, spare: &Spare) -> Result<Option<Arc<Frame>>, Stop> {
        let mut picture =
            (lock(spare).pop()).unwrap_or_else(|| Frame::new(self.job.format, self.job.size));
        let data = self.decoded.as_mut().unwrap_or(&mut picture).bytes_mut();
        let wanted = data.len();
        let filled = self.tool.fill(data, Some(quit.as_fd()));
        if filled.map_err(|stop| self.explain(stop))? < wanted {
            return Ok(None);
        }
        if let Some(decoded) = &self.decoded {
            picture.take_samples(decoded);
        }
        Ok(Some(Arc::new(picture)))
    }

    /// Waits until ffmpeg has ended.
    /// Fails, with a message for the user, if ffmpeg failed before the clip's end.
    fn end(self, quit: &PipeReader) -> Result<(), Stop> {
        let name = self.job.path.display();
        let (status, said) = self.tool.end(Some(quit.as_fd()))?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "ffmpeg could not decode {name} to the end: {}",
                reason(&said, &status)
            ))
            .into()),
        }
    }

    fn explain(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Failed(failure) => Stop::Failed(Failure::new(format!(
                "cannot play {}: {failure}; try it with \"ffplay\", or choose another file",
                self.job.path.display()
            ))),
            Stop::Quit => Stop::Quit,
        }
    }
}
