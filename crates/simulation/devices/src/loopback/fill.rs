//! Frames that the loopback itself adds for readers: a placeholder's, repeated ones, and v4l2loopback's
//! timeout image.

use super::file::Playing;
use super::link::{Body, Shared, has_same_layout};
use crate::Failure;
use crate::choice::{ClipEnd, Placeholder, SourceSpec};
use crate::source::Source;
use crate::streaming::Stamp;
use std::sync::Arc;
use vb3_picture::{Frame, Rect, Size, Yuv};
use vb3_v4l2::{Format, FourCc, PixelFormat, pixfmt};

const NS_PER_MS: u64 = 1_000_000;

/// Returns the pixel format if the loopback can make pictures of it.
pub(super) fn drawable(fourcc: FourCc) -> Option<&'static PixelFormat> {
    let pixel = pixfmt::lookup(fourcc)?;
    let packs_chroma = matches!(fourcc, FourCc::YUV444 | FourCc::YUV555 | FourCc::YUV565);
    (!pixel.is_compressed() && !packs_chroma).then_some(pixel)
}

/// Returns the bytes of a black picture.
pub(super) fn black(format: &Format) -> Option<Vec<u8>> {
    let pixel = drawable(format.fourcc)?;
    let mut frame = Frame::new(pixel, Size::new(format.width, format.height)?);
    // Black is zero in formats whose samples are not known.
    if !pixel.is_opaque() {
        let whole = Rect {
            x: 0,
            y: 0,
            width: format.width,
            height: format.height,
        };
        frame.fill(whole, Yuv::grey(16));
    }
    padded(format, &frame)
}

/// Returns the bytes of a frame with the line lengths of this format.
pub(super) fn padded(format: &Format, frame: &Frame) -> Option<Vec<u8>> {
    let pixel = drawable(format.fourcc)?;
    let layouts = format.layouts();
    // CAST: widening, on every target there is.
    let mut bytes = vec![0; layouts.first()?.sizeimage as usize];
    for index in 0..pixel.components.len() {
        let at = pixel.component_layout(index, format.width, format.height, layouts)?;
        let (offset, pitch) = (usize::try_from(at.offset).ok()?, at.bytesperline as usize);
        let lines = bytes.get_mut(offset..)?.chunks_mut(pitch.max(1));
        let from = frame
            .component(index)
            .chunks((at.line_bytes as usize).max(1));
        for (to, from) in lines.take(at.lines as usize).zip(from) {
            to.get_mut(..from.len())?.copy_from_slice(from);
        }
    }
    Some(bytes)
}

/// The state of the frames that the loopback adds.
#[derive(Debug, Default)]
pub(super) struct Fill {
    /// The pictures that readers get while no writer streams.
    pub(super) placeholder: Option<Placeholder>,
    /// The picture to show next, and its format.
    picture: Option<(Format, Arc<Vec<u8>>)>,
    /// The placeholder's file, unless a reader plays it.
    pub(super) file: Option<Playing>,
    /// The time of the placeholder's next frame.
    due_ns: u64,
    /// The time of the last frame of a writer, or of the last picture that the loopback added.
    heard_ns: u64,
    /// The time of a writer's last frame, or of that frame's last repetition.
    shown_ns: u64,
    /// Whether the writer's last frame was repeated.
    is_repeated: bool,
}

/// The kind of the next added frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A picture in memory: the placeholder's or the timeout image.
    Picture,
    /// A picture that a reader must take from the placeholder's file.
    File,
    /// A repetition of the newest frame.
    Repeated,
}

/// Returns the pixel format and size of a format in which a file can be shown; `None` for other formats.
pub(super) fn playable(format: &Format) -> Option<(&'static PixelFormat, Size)> {
    Some((
        drawable(format.fourcc)?,
        Size::new(format.width, format.height)?,
    ))
}

impl Fill {
    /// Opens the placeholder's file, if there is one. May wait for ffprobe, for at most 30 seconds.
    /// Fails for a file that cannot be played, with a message for the user.
    pub(super) fn new(placeholder: Option<&Placeholder>) -> Result<Self, Failure> {
        let file = match placeholder {
            Some(Placeholder::File(path)) => {
                let clip = SourceSpec::Clip(path.clone());
                Some(Playing::new(Source::open(&clip, ClipEnd::Loop)?))
            }
            _ => None,
        };
        Ok(Self {
            placeholder: placeholder.cloned(),
            file,
            ..Self::default()
        })
    }

    /// With `placeholder=hold`, keeps a writer's last frame, to repeat it from now on.
    pub(super) fn keep(&mut self, format: Format, bytes: Arc<Vec<u8>>) {
        if self.keeps_frames() {
            self.set_picture(format, bytes);
        }
    }

    /// Sets the picture that is shown next, such as the timeout image.
    pub(super) fn set_picture(&mut self, format: Format, bytes: Arc<Vec<u8>>) {
        self.picture = Some((format, bytes));
    }

    /// Returns whether writers' frames must be copied, because the last one is shown after the writer's end.
    pub(super) fn keeps_frames(&self) -> bool {
        self.placeholder == Some(Placeholder::Hold)
    }

    /// Records that a writer's frame arrived.
    pub(super) fn note_written(&mut self, now_ns: u64) {
        (self.heard_ns, self.shown_ns) = (now_ns, now_ns);
        self.is_repeated = false;
    }

    fn fits(&self, format: &Format) -> bool {
        let picture = self.picture.as_ref();
        picture.is_some_and(|(of, _)| has_same_layout(of, format))
    }

    /// Returns the picture to show, or a black one if there is none with this format's layout.
    fn picture(&mut self, format: &Format) -> Option<Arc<Vec<u8>>> {
        if !self.fits(format) {
            self.picture = Some((*format, black(format)?.into()));
        }
        self.picture.as_ref().map(|(_, bytes)| Arc::clone(bytes))
    }
}

impl Shared {
    fn interval_ns(&self) -> u64 {
        self.interval.as_nanos().unwrap_or(1).max(1)
    }

    /// Returns the time and the kind of the next frame that the loopback adds.
    fn next_fill(&self) -> Option<(u64, Kind)> {
        let fill = &self.fill;
        let settings = self.settings.unwrap_or_default();
        let is_drawable = fill.fits(&self.format) || playable(&self.format).is_some();
        let placeholder = match &fill.placeholder {
            Some(_) if self.is_written || !is_drawable => None,
            Some(Placeholder::File(_)) => playable(&self.format).map(|_| (fill.due_ns, Kind::File)),
            Some(_) => Some((fill.due_ns, Kind::Picture)),
            None => None,
        };
        let timeout_ns = u64::from(settings.timeout_ms).saturating_mul(NS_PER_MS);
        let has_timeout = timeout_ns > 0 && is_drawable && placeholder.is_none();
        let timeout =
            has_timeout.then(|| (fill.heard_ns.saturating_add(timeout_ns), Kind::Picture));
        let interval_ns = self.interval_ns();
        // Source: v4l2loopback 0.13.2 `check_timers`, `sustain_timer_clb`.
        let pause_ns = match fill.is_repeated {
            true => interval_ns,
            false => interval_ns.saturating_add(interval_ns / 2),
        };
        let repeats = settings.sustain_framerate && self.is_written && !self.frames.is_empty();
        let repeated = repeats.then(|| (fill.shown_ns.saturating_add(pause_ns), Kind::Repeated));
        let all = [placeholder, timeout, repeated].into_iter().flatten();
        all.min_by_key(|(due_ns, _)| *due_ns)
    }

    /// Returns when the loopback next adds a frame without a reader's help.
    pub(super) fn next_added(&self) -> Option<u64> {
        let (due_ns, kind) = self.next_fill()?;
        (kind != Kind::File).then_some(due_ns)
    }

    /// Returns when a reader must next take a picture from the placeholder's file.
    pub(super) fn next_of_file(&self) -> Option<u64> {
        let (due_ns, kind) = self.next_fill()?;
        (kind == Kind::File).then_some(due_ns)
    }

    /// Adds a picture or a repetition if one is due.
    pub(super) fn add_fill(&mut self, now_ns: u64) {
        match self.next_fill() {
            Some((due_ns, Kind::Repeated)) if due_ns <= now_ns => {
                (self.fill.shown_ns, self.fill.is_repeated) = (now_ns, true);
                self.repeat();
            }
            Some((due_ns, Kind::Picture)) if due_ns <= now_ns => {
                if let Some(picture) = self.fill.picture(&self.format) {
                    self.show(picture, now_ns);
                }
            }
            _ => {}
        }
    }

    /// Adds a picture for readers, and plans the placeholder's next frame.
    pub(super) fn show(&mut self, picture: Arc<Vec<u8>>, now_ns: u64) {
        let interval_ns = self.interval_ns();
        let next_ns = self.fill.due_ns.saturating_add(interval_ns);
        self.fill.due_ns = match next_ns > now_ns {
            true => next_ns,
            false => now_ns.saturating_add(interval_ns),
        };
        self.fill.heard_ns = now_ns;
        let last = self.written.saturating_sub(1);
        self.push(Body::Own(picture), Stamp::new(last, now_ns));
    }
}
