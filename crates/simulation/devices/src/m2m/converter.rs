//! A converter crops, scales, turns and converts each OUTPUT picture, and places it in a CAPTURE picture.
//! It imitates the driver s5p-fimc.
//!
//! Each open file has a thread, which converts pictures if source and target together have 512 KiB or more.
//! The thread reads and writes the buffers itself if it can; otherwise ticks (calls by the host) copy the picture
//! for the thread. In virtual time, ticks convert all pictures.

mod work;

use super::device::{M2mDevice, M2mEngine, Parts};
use super::raw::{REC709, RawFormats};
use crate::Failure;
use crate::limits::SIZES;
use crate::picture_converter::PictureConverter;
use crate::select::Selection;
use crate::settings::Settings;
use crate::surface::{EINVAL, align_lines};
use crate::worker::FrameWorker as _;
use vb3_picture::convert::Rotate;
use vb3_queue::{DriverError, Requests};
use vb3_v4l2::{
    Bus, ControlSpec, ControlValue, Flow, Format, FourCc, Progress, Rect, SelectionFlags,
    SelectionTarget, cid,
};
use work::UnderWay;

pub(crate) type FrameConverter<C> = M2mDevice<Converting<C>, PictureConverter, C>;

pub(crate) struct Converting<C> {
    /// The part of OUTPUT pictures that is converted, and the part of CAPTURE pictures that receives it.
    selection: Selection,
    hflip: bool,
    vflip: bool,
    rotate: Rotate,
    under_way: Option<UnderWay<C>>,
}

const CONTROLS: [ControlSpec; 3] = [
    ControlSpec::boolean(cid::HFLIP, "Horizontal Flip", false),
    ControlSpec::boolean(cid::VFLIP, "Vertical Flip", false),
    ControlSpec::integer(cid::ROTATE, "Rotate", (0, 270, 90), 0),
];

impl<C> FrameConverter<C> {
    /// Makes the converter for one open file.
    /// Fails for an unsupported format, with a message for the user.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Failure> {
        let raw = RawFormats::new(settings, Flow::Output, SIZES);
        let mut format = settings.first_format(FourCc::NV12)?;
        format.color = REC709;
        let parts = Parts {
            card: "Converter",
            coded: settings.pixels.clone(),
            raw,
            controls: &CONTROLS,
            output: format,
            capture: format,
            worker: PictureConverter::default(),
            own: Converting {
                selection: Selection::whole((format.width, format.height), &format),
                hflip: false,
                vflip: false,
                rotate: Rotate::None,
                under_way: None,
            },
        };
        let mut device = Self::with_parts(settings, parts);
        device.output.policy.requests = Requests::Optional;
        device.capture.policy.requests = Requests::Optional;
        Ok(device)
    }
}

impl<C> M2mEngine<C> for FrameConverter<C> {
    fn negotiate(&self, flow: Flow, wanted: &Format) -> Option<Format> {
        let format = Format::negotiate(wanted, &self.raw.pixels, SIZES, true)?;
        let mut format = align_lines(format, &self.raw.pixels, self.raw.stride)?;
        if wanted.color.colorspace == 0 {
            format.color = match flow {
                // CAPTURE has OUTPUT's colorimetry unless the program wants another.
                Flow::Capture => self.output.format.color,
                Flow::Output => REC709,
            };
        }
        Some(format)
    }

    fn set_format(&mut self, flow: Flow, format: &Format, _: bool) -> Result<(), DriverError> {
        let before = std::mem::replace(&mut self.queue_mut(flow).format, *format);
        let part = match flow {
            Flow::Capture => &mut self.own.selection.compose,
            Flow::Output => {
                self.capture.format.color = format.color;
                self.own.selection.source = (format.width, format.height);
                &mut self.own.selection.crop
            }
        };
        // Some programs set the same size again while streaming. Their rectangles then stay.
        if (before.width, before.height) != (format.width, format.height) {
            *part = Rect::whole(format.width, format.height);
        }
        Ok(())
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        let is_crop = matches!(
            target,
            SelectionTarget::Crop | SelectionTarget::CropDefault | SelectionTarget::CropBounds
        );
        let rect = self.own.selection.rect(target, &self.capture.format);
        (is_crop == (flow == Flow::Output)).then_some(rect)
    }

    fn set_selection(
        &mut self,
        flow: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        M2mEngine::selection(self, flow, target).ok_or(EINVAL)?;
        let buffer = &self.capture.format;
        (self.own.selection).set_rect((target, flags), wanted, buffer)
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        let number = value.number();
        match id {
            cid::HFLIP => self.own.hflip = number != 0,
            cid::VFLIP => self.own.vflip = number != 0,
            cid::ROTATE => {
                let degrees = i32::try_from(number).map_err(|_| EINVAL)?;
                self.own.rotate = Rotate::from_degrees(degrees).ok_or(EINVAL)?;
            }
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    fn stopped(&mut self, _: Flow) {
        self.recall_lost();
    }

    fn recall(&mut self) {
        self.recall_lost();
    }

    fn work(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.step(bus, progress);
    }

    fn has_begun(&self) -> bool {
        self.own.under_way.is_some() && !self.worker.is_busy()
    }
}
