//! A clip: any file that the installed ffmpeg decodes.
//!
//! One thread starts ffmpeg, cuts what it writes into pictures and keeps a few of them ready; the
//! owner of the camera takes them without waiting. At the end of a looping clip ffmpeg is started
//! again.

use super::probe::{self, ClipInfo};
use crate::Failure;
use crate::picture::{self, Frame, Size};
use crate::ring::Ring;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use vb3_v4l2::pixfmt::{self, ColorModel};
use vb3_v4l2::{Fraction, PixelFormat};

/// Pictures kept ready.
const READY: usize = 4;
/// Bytes kept of what ffmpeg complains about.
const COMPLAINTS_MAX: u64 = 4096;

/// A clip, playing or not.
#[derive(Debug)]
pub struct Clip {
    path: PathBuf,
    info: ClipInfo,
    looping: bool,
    player: Option<Player>,
}

/// One picture of a clip.
#[derive(Debug)]
pub struct ClipFrame {
    /// The picture.
    pub frame: Frame,
    /// Whether none follows.
    pub last: bool,
}

/// What a clip that plays has to give.
#[derive(Debug)]
pub enum Next {
    /// The next picture.
    Frame(ClipFrame),
    /// Not decoded yet; [`Clip::wake_fd`] tells when.
    Later,
    /// All pictures were taken, or the clip does not play.
    End,
    /// Decoding failed before the end.
    Failed(Failure),
}

impl Clip {
    /// Looks at a file, and remembers its size and rate.
    ///
    /// # Errors
    /// A sentence, for a missing file, one without pictures, or missing ffmpeg.
    pub fn open(path: &Path, looping: bool) -> Result<Self, Failure> {
        let info = probe::probe(path)?;
        Ok(Self {
            path: path.to_owned(),
            info,
            looping,
            player: None,
        })
    }

    /// Size and rate of the file.
    #[must_use]
    pub const fn info(&self) -> ClipInfo {
        self.info
    }

    /// Plays from the beginning, in this shape and at `interval` seconds per frame.
    ///
    /// # Errors
    /// A sentence, where no thread or descriptor can be had.
    pub fn start(
        &mut self,
        format: &'static PixelFormat,
        size: Size,
        interval: Fraction,
    ) -> Result<(), Failure> {
        self.stop();
        let job = Job {
            path: self.path.clone(),
            format,
            size,
            interval,
            looping: self.looping,
        };
        self.player = Some(Player::start(job)?);
        Ok(())
    }

    /// Stops, and ends ffmpeg.
    pub fn stop(&mut self) {
        self.player = None;
    }

    /// Takes the next picture.
    pub fn take(&mut self) -> Next {
        let Some(player) = &self.player else {
            return Next::End;
        };
        match player.ring.try_pop() {
            Ok(item) => item,
            Err(true) => Next::End,
            Err(false) => Next::Later,
        }
    }

    /// Readable when [`take`](Self::take) has said `Later` and would not any more; `None` while
    /// the clip does not play.
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.player.as_ref().map(|player| player.ring.wake_fd())
    }

    /// Makes [`wake_fd`](Self::wake_fd) unreadable.
    pub fn acknowledge(&self) {
        if let Some(player) = &self.player {
            player.ring.acknowledge();
        }
    }
}

/// What is to be played, and how.
#[derive(Debug)]
struct Job {
    path: PathBuf,
    format: &'static PixelFormat,
    size: Size,
    interval: Fraction,
    looping: bool,
}

impl Job {
    /// What ffmpeg writes, and its name of it: the wanted format, or where ffmpeg cannot write
    /// that, one whose samples it is made of.
    fn decoded(&self) -> (&'static PixelFormat, &'static str) {
        let format = self.format.in_one_plane();
        match (format.ffmpeg, format.model()) {
            (Some(name), _) => (format, name),
            (None, ColorModel::Rgb) => (&pixfmt::RGB24, "rgb24"),
            (None, ColorModel::Yuv) => (&pixfmt::YUYV, "yuyv422"),
        }
    }

    /// The picture that ffmpeg wrote, in the wanted format.
    fn picture(&self, data: Vec<u8>) -> Option<Frame> {
        let (decoded, _) = self.decoded();
        let frame = Frame::from_bytes(decoded, self.size, data)?;
        if self.format.in_one_plane() == decoded {
            return Some(frame);
        }
        let mut wanted = Frame::new(self.format, self.size);
        wanted.take_samples(&frame);
        Some(wanted)
    }
}

#[derive(Debug)]
struct Player {
    ring: Arc<Ring<Next>>,
    running: Arc<Mutex<Running>>,
    thread: Option<JoinHandle<()>>,
}

/// The ffmpeg of the moment, where the thread and its owner both find it.
#[derive(Debug, Default)]
struct Running {
    child: Option<Child>,
    stopped: bool,
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Player {
    fn start(job: Job) -> Result<Self, Failure> {
        let ring = Ring::new(READY)?;
        let running = Arc::new(Mutex::new(Running::default()));
        let (ring_there, running_there) = (Arc::clone(&ring), Arc::clone(&running));
        let thread = std::thread::Builder::new()
            .name("vb3-clip".to_owned())
            .spawn(move || {
                if let Err(failure) = play(&job, &ring_there, &running_there) {
                    let _ = ring_there.push_wait(Next::Failed(failure));
                }
                ring_there.close();
            })
            .map_err(|e| Failure::new(format!("cannot start a thread for a clip: {e}")))?;
        Ok(Self {
            ring,
            running,
            thread: Some(thread),
        })
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.ring.close();
        {
            let mut running = lock(&self.running);
            running.stopped = true;
            if let Some(child) = &mut running.child {
                // It may have ended by itself.
                let _ = child.kill();
            }
        }
        if let Some(thread) = self.thread.take() {
            // With its output closed and its queue too, the thread ends at once.
            let _ = thread.join();
        }
    }
}

/// The thread: laps of the clip until its end, or until the queue is closed.
fn play(job: &Job, ring: &Ring<Next>, running: &Mutex<Running>) -> Result<(), Failure> {
    // The picture before the newest, held back until it is known whether another follows.
    let mut held: Option<Frame> = None;
    loop {
        let before = held.is_some();
        let Some(pictures) = lap(job, ring, running, &mut held)? else {
            return Ok(());
        };
        if pictures == 0 && !before {
            return Err(Failure::new(format!(
                "{} holds no picture that ffmpeg can decode; try it with \"ffplay\", or choose \
                 another file",
                job.path.display()
            )));
        }
        if !job.looping || pictures == 0 {
            break;
        }
    }
    if let Some(frame) = held {
        let _ = ring.push_wait(Next::Frame(ClipFrame { frame, last: true }));
    }
    Ok(())
}

/// Plays the clip once. `None` when the owner wants no more.
fn lap(
    job: &Job,
    ring: &Ring<Next>,
    running: &Mutex<Running>,
    held: &mut Option<Frame>,
) -> Result<Option<u64>, Failure> {
    let mut child = command(job)
        .spawn()
        .map_err(|e| probe::not_started("ffmpeg", &e))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    {
        let mut running = lock(running);
        if running.stopped {
            let _ = child.kill();
        }
        running.child = Some(child);
    }
    let complaints = stderr.map(|stderr| {
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            let mut rest = stderr;
            let _ = (&mut rest).take(COMPLAINTS_MAX).read_to_end(&mut kept);
            // ffmpeg must never block on a full pipe.
            let _ = std::io::copy(&mut rest, &mut std::io::sink());
            String::from_utf8_lossy(&kept).into_owned()
        })
    });
    let mut pictures = 0;
    let mut closed = false;
    if let Some(mut stdout) = stdout {
        let mut data = vec![0; picture::bytes(job.decoded().0, job.size)];
        while stdout.read_exact(&mut data).is_ok() {
            let next = vec![0; data.len()];
            let full = core::mem::replace(&mut data, next);
            pictures += 1;
            let before = job.picture(full).and_then(|frame| held.replace(frame));
            if let Some(frame) = before
                && ring
                    .push_wait(Next::Frame(ClipFrame { frame, last: false }))
                    .is_err()
            {
                closed = true;
                break;
            }
        }
    }
    let child = lock(running).child.take();
    let status = child.map(|mut child| {
        if closed {
            let _ = child.kill();
        }
        child.wait()
    });
    let said = complaints
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    if closed || lock(running).stopped {
        return Ok(None);
    }
    match status {
        Some(Ok(status)) if !status.success() => Err(Failure::new(format!(
            "ffmpeg could not decode {} to the end: {}",
            job.path.display(),
            probe::last_line(&said, &status)
        ))),
        _ => Ok(Some(pictures)),
    }
}

/// The ffmpeg that writes the clip's pictures to its standard output.
fn command(job: &Job) -> Command {
    // An interval turned upside down is a rate.
    let rate = format!(
        "fps={}/{}",
        job.interval.denominator, job.interval.numerator
    );
    let scale = format!("scale={}:{}", job.size.width(), job.size.height());
    let (decoded, name) = job.decoded();
    let colors = match decoded.model() {
        ColorModel::Rgb => "",
        ColorModel::Yuv => ":out_color_matrix=bt601:out_range=tv",
    };
    let mut input = OsString::from("file:");
    input.push(&job.path);
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(input)
        .args(["-map", "0:v:0", "-vf", &format!("{rate},{scale}{colors}")])
        .args(["-f", "rawvideo", "-pix_fmt", name, "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A ^C at the terminal is for the program; ffmpeg ends when its pipe does.
        .process_group(0);
    command
}

#[cfg(test)]
mod tests;
