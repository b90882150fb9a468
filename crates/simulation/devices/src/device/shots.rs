//! Thumbnails of a run's frames, for a contact sheet.

use super::Device;
use crate::colors::color_of;
use crate::sink::{Shots, Thumbnail};
use crate::surface::Surface;
use vb3_picture::{Frame, Size};
use vb3_v4l2::{Bus, Finished, Flow, Format, Progress, Role, pixfmt};

impl<C: 'static> Device<C> {
    /// Keeps thumbnails of the frames that the device shows from now on, and in `shots` those of the frames that
    /// it delivers.
    pub fn keep_thumbnails(&mut self, shots: &Shots) {
        if let Some(sink) = self.inner.sink() {
            sink.keep_thumbnails();
        } else if matches!(self.inner.role(), Role::Capture | Role::MemToMem) {
            self.shots = Some(shots.clone());
        }
    }

    /// Returns thumbnails of at most `count` frames, evenly spread over all frames that a display has shown since
    /// [`keep_thumbnails`](Self::keep_thumbnails).
    #[must_use]
    pub fn shown_thumbnails(&mut self, count: usize) -> Vec<Thumbnail> {
        let sink = self.inner.sink();
        sink.map(|sink| sink.thumbnails(count)).unwrap_or_default()
    }

    /// Collects thumbnails of the frames that a tick (a call by the host) has finished.
    pub(crate) fn look_at_frames(&mut self, bus: &mut dyn Bus<C>, progress: &Progress<C>) {
        let Some(shots) = &self.shots else {
            return;
        };
        let format = self.inner.format(Flow::Capture);
        for finished in &progress.finished {
            let completion = &finished.completion;
            // The buffer that ends a drained stream is empty.
            let is_empty = completion.payloads.is_some_and(|bytes| bytes[0] == 0);
            let is_frame = completion.outcome.is_ok() && !is_empty;
            if finished.flow == Flow::Capture && is_frame {
                shots.offer(|number| {
                    let frame = read(&format, finished, bus)?;
                    Some(Thumbnail::of(&frame, number))
                });
            }
        }
    }
}

/// Reads only the lines that a thumbnail needs from a buffer, since a tick waits for this. Returns `None` for
/// a compressed or opaque format, and for a picture that does not fill its buffer.
fn read<C>(format: &Format, finished: &Finished<C>, bus: &mut dyn Bus<C>) -> Option<Frame> {
    let pixel = pixfmt::lookup(format.fourcc)
        .filter(|pixel| !pixel.is_compressed() && !pixel.is_opaque())?;
    let size = Size::new(format.width, format.height)?;
    let mut frame = Frame::new(pixel, size);
    let every = usize::try_from(Thumbnail::step(size)).ok()?;
    let all = Surface(format).lines(&finished.token, Flow::Capture).ok()?;
    for (index, (component, lines)) in pixel.components.iter().zip(&all).enumerate() {
        let rows = (0..format.height).step_by(every);
        let mut rows: Vec<_> = rows.map(|line| line / component.down.max(1)).collect();
        rows.dedup();
        let (line_bytes, cell) = (
            usize::try_from(lines.line_bytes).ok()?,
            component.cell.len(),
        );
        // CAST: widening, on every target there is.
        for line in rows
            .into_iter()
            .flat_map(|row| (0..cell).map(move |line| row as usize * cell + line))
        {
            let packed = line * line_bytes..(line + 1) * line_bytes;
            let to = frame.component_mut(index).get_mut(packed)?;
            let offset = lines.offset + line as u64 * lines.pitch;
            bus.inspect(lines.cookie, offset, to).ok()?;
        }
    }
    frame.set_color(color_of(&format.color));
    Some(frame)
}

#[cfg(test)]
mod tests;
