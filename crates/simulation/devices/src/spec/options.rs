//! The table of all options: their names, values and meanings, and the kinds of devices that have them.

use super::kind::DeviceKind;
use super::presence;
use crate::choice::CameraInput;
use vb3_v4l2::pixfmt;

/// The group of an option. `vb3 devices KIND` shows the options of a kind by these groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The node's number and name, and when the device is plugged in.
    Node,
    /// The pictures.
    Picture,
    /// The time of frames, and the number of buffers.
    Timing,
    /// The memory.
    Memory,
    /// Failures that a program requests by controls.
    Faults,
}

impl Group {
    /// All groups, in the order of help texts.
    pub const ALL: [Self; 5] = [
        Self::Node,
        Self::Picture,
        Self::Timing,
        Self::Memory,
        Self::Faults,
    ];

    /// Returns the group's heading in a help text.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Picture => "Picture",
            Self::Timing => "Frames and buffers",
            Self::Memory => "Memory limits",
            Self::Faults => "Faults",
        }
    }
}

/// The kinds of devices that have an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    All,
    /// All but display cards, which are no video nodes.
    Videos,
    /// All but display cards, `vimc` and `sensor`.
    PlainVideos,
    /// All but `vimc` and `sensor`, whose formats and rates programs set in the media graph.
    ExceptGraphs,
    Cameras,
    /// Cameras other than HDMI inputs.
    Sensors,
    /// Cameras that can play a description.
    Describable,
    CamerasAndDisplays,
    Loopbacks,
    Cards,
    CamerasAndCards,
    /// Decoders, encoders and display cards.
    CodecsAndCards,
    /// Cameras with a sensor, and display cards.
    SensorsAndCards,
    /// Devices that can show the identity of another driver's device.
    Identified,
}

/// An option of a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceOption {
    /// The option's name.
    pub name: &'static str,
    /// The option's allowed values.
    pub values: &'static str,
    /// The option's effect.
    pub meaning: &'static str,
    /// The option's group in help texts.
    pub group: Group,
    kinds: Kinds,
}

impl DeviceOption {
    /// Returns whether devices of a kind have the option.
    #[must_use]
    pub const fn is_of(&self, kind: &DeviceKind) -> bool {
        let is_camera = matches!(kind, DeviceKind::Camera { .. });
        let is_hdmi = matches!(kind.input(), Some(CameraInput::Hdmi));
        let is_loopback = matches!(kind, DeviceKind::Loopback { .. });
        let is_card = matches!(kind, DeviceKind::Kms { .. });
        match self.kinds {
            Kinds::All => true,
            Kinds::Videos => !is_card,
            Kinds::PlainVideos => !is_card && !matches!(kind, DeviceKind::Graph(_)),
            Kinds::ExceptGraphs => !matches!(kind, DeviceKind::Graph(_)),
            Kinds::Cameras => is_camera,
            Kinds::Sensors => is_camera && !is_hdmi,
            Kinds::Describable => matches!(kind.input(), Some(CameraInput::Sensor)),
            Kinds::CamerasAndDisplays => is_camera || matches!(kind, DeviceKind::Display { .. }),
            Kinds::Loopbacks => is_loopback,
            Kinds::Cards => is_card,
            Kinds::CamerasAndCards => is_card || is_camera,
            Kinds::CodecsAndCards => is_card || matches!(kind, DeviceKind::Codec(_)),
            Kinds::SensorsAndCards => is_card || is_camera && !is_hdmi,
            Kinds::Identified => is_loopback || is_camera && !is_hdmi,
        }
    }

    /// Returns whether the option's values are words to choose from, as in "real or free".
    pub(super) fn is_word_list(&self) -> bool {
        self.values.contains(" or ")
            && !self.values.contains(|c: char| c.is_ascii_uppercase())
            && !self.values.starts_with(|c: char| c.is_ascii_digit())
            && !self.values.contains("number")
            && self.values != SWITCH
    }

    /// Returns the kinds that have the option, for a message.
    pub(super) const fn owners(&self) -> &'static str {
        match self.kinds {
            Kinds::All => "any device",
            Kinds::Videos => "a video device (not kms)",
            Kinds::PlainVideos => "a video device without a media graph (not kms, vimc or sensor)",
            Kinds::ExceptGraphs => "a device without a media graph (not vimc, not sensor)",
            Kinds::Cameras | Kinds::Sensors => "a camera",
            Kinds::Describable => "a camera without scaler or HDMI input",
            Kinds::CamerasAndDisplays => "a camera or display",
            Kinds::Loopbacks => "a loopback",
            Kinds::Cards => "a display card",
            Kinds::SensorsAndCards | Kinds::CamerasAndCards => "a camera or display card",
            Kinds::CodecsAndCards => "a codec or display card",
            Kinds::Identified => "a camera or loopback",
        }
    }
}

/// Defines the table of options. An option has its group, the kinds of devices that have it, its name, its
/// values and its meaning.
macro_rules! options {
    ($($group:ident $kinds:ident $name:literal = $values:expr, $meaning:literal;)*) => {
        /// All options of devices.
        pub const OPTIONS: &[DeviceOption] = &[$(DeviceOption {
            name: $name,
            values: $values,
            meaning: $meaning,
            group: Group::$group,
            kinds: Kinds::$kinds,
        },)*];
    };
}

const SIZES: &str = "WIDTHxHEIGHT, even numbers from 2x2 to 4096x2304";
const RATES: &str = "N or N/D frames per second, from 1 to 120";
const FORMATS: &str = pixfmt::NAMES;
const FORMAT_LIST: &str = "NAME:NAME…, pixel formats of the device";
const SIZE_LIST: &str = "WIDTHxHEIGHT:WIDTHxHEIGHT…, even numbers from 2x2 to 4096x2304";
const RATE_LIST: &str = "N:N/D…, frames per second from 1 to 120";
const SWITCH: &str = "on or off";

options! {
    Picture ExceptGraphs "size" = SIZES,
        "a camera's only size; the first size of other devices (default: the clip's, or 640x480; hdmi: 1920x1080)";
    Picture ExceptGraphs "fps" = RATES,
        "a camera's only frame rate; the first rate of other devices (default: the clip's, or 30; hdmi: 60)";
    Picture PlainVideos "format" = FORMATS,
        "a webcam's only pixel format; the first format of other devices (default: YUYV; NV12 for codecs and converters)";
    Picture Sensors "profile" = "webcam or sensor",
        "webcam: lists of sizes and rates; sensor: every size and rate (default: webcam; capture-convert: sensor)";
    Picture SensorsAndCards "sizes" = SIZE_LIST,
        "list of sizes (default: size= alone, else the clip's own and a webcam's usual sizes); of a card: its modes";
    Node CodecsAndCards "driver" = "1 to 31 letters, digits, - and _",
        "name of the driver. Of a codec: QUERYCAP returns its first 15 letters (default videobuf3); of a card: rockchip (default), vkms, imx-drm, …; kmssink knows some of them";
    Picture Sensors "rates" = RATE_LIST,
        "list of frame rates (default: fps= alone, else the clip's own and a webcam's usual rates)";
    Picture CamerasAndCards "formats" = FORMAT_LIST,
        "list of pixel formats, in this order (default: format= alone, else YUYV and MJPEG; all with profile=sensor and hdmi); of a card: DRM's names, such as XR24:NV12 (default: all)";
    Picture Cards "connectors" = "a number from 1 to 8",
        "number of connectors with a monitor, each with its CRTC and planes (default 1). The recording of connector N is NAME-N";
    Picture Cards "planes" = "a number from 0 to 8",
        "number of overlay planes of each connector, besides a primary and a cursor plane (default 0)";
    Picture Cards "scaler" = SWITCH,
        "on: planes enlarge and shrink pictures up to eight times; off: ERANGE, as with vkms (default)";
    Picture Cards "edid" = "FILE, an EDID of 128 to 512 bytes",
        "the monitors' EDID, whose modes the card has without size= and sizes= (default: none, as with vkms)";
    Node Identified "identity" = "uvc, plain or v4l2loopback",
        "uvc: a USB webcam of the driver uvcvideo (a camera's default); plain: a platform device (default with mplane=on or profile=sensor, and of a loopback); v4l2loopback: a loopback with one node, as of that driver";
    Node Sensors "usb" = "VVVV:PPPP, the USB vendor and product in hexadecimal",
        "ids of a USB webcam (default 1d6b:0102)";
    Node Describable "like" = "FILE.toml of `vb3 clone`, or a name that `vb3 devices` lists",
        "be this real camera: its formats, controls, USB identity and the rhythm of its stream; --device FILE.toml is camera,like=FILE.toml";
    Node Loopbacks "readers" = "a number from 1 to 8",
        "number of nodes that read from a loopback (default 1)";
    Node Loopbacks "exclusive-caps" = SWITCH,
        "on: a loopback's readers have no format while there is no writer; with identity=v4l2loopback, the node is an OUTPUT device then, and a CAPTURE device with a writer (default off)";
    Picture Loopbacks "placeholder" = "black, hold or FILE",
        "what readers get while there is no writer. black: black frames; hold: the last frame again; FILE: a picture or clip that ffmpeg decodes (default: no frames)";
    Picture Cameras "end" = "loop, hold, stop or unplug",
        "after a clip's last picture. loop: play it again (default); hold: repeat the last picture; stop: end the stream with EIO; unplug: unplug the camera";
    Timing ExceptGraphs "pace" = "real or free",
        "real: frames at their rate (default); free: a frame for each buffer, at once; of a card: each commit at once; of a loopback: whether its writer is held to the rate of fps= or S_PARM (default free)";
    Picture CamerasAndDisplays "mplane" = SWITCH,
        "on: the multi-planar API (default off)";
    Memory All "alloc" = "contig, sg or vmalloc",
        "buffer memory: contig is one run of addresses, sg scattered pages, vmalloc memory without DMA (default: the machine's; contig with place=lazy)";
    Memory All "place" = "fixed or lazy",
        "fixed: a buffer gets its address when it is allocated (default); lazy: when a device first uses it, at a place that suits all devices that share it. Only vb3 has lazy; no board's driver does";
    Memory Videos "admission" = SWITCH,
        "on: REQBUFS and CREATE_BUFS allocate all buffers or fail with ENOMEM; off: as many as fit (default). Only vb3 has on";
    Memory Videos "userptr" = SWITCH,
        "offer USERPTR (default: as the machine allows)";
    Memory Videos "hints" = SWITCH,
        "accept cache hints (default on)";
    Faults Videos "inject" = SWITCH,
        "on: controls that make the next call fail (default off)";
    Timing Videos "max-buffers" = "a number from 32 to 32768",
        "most buffers of the queue (default 64)";
    Timing Videos "min-queued" = "a number from 0 to 8",
        "buffers that the device needs before it starts (default 0)";
    Node All "name" = "1 to 31 printable ASCII characters",
        "name of the card";
    Memory All "mask" = "a number of bits from 20 to 64, or the highest address, such as 0xddbfffff",
        "addresses that the device reaches (DMA mask)";
    Memory All "contiguous" = SWITCH,
        "on: the device is not behind the machine's IOMMU and needs contiguous memory (default off)";
    Memory All "iommu" = "a name in [iommus] of the machine's profile",
        "the IOMMU that the device is behind (default: the machine's common one)";
    Memory All "sram" = "bytes from 4KiB to 256MiB, a multiple of 4KiB",
        "coherent memory of its own; all its buffers come from there (default: the machine's)";
    Memory All "window" = "FIRST-LAST@BUS in hexadecimal, whole pages, such as 0x0-0x3fffffff@0xc0000000",
        "memory that its bus shows, and the bus address (default: all memory at its own address)";
    Memory All "align" = "bytes, a power of two from 1 to 16MiB",
        "alignment of plane addresses (default 1)";
    Memory All "max-segment" = "bytes from 4KiB to 4GiB",
        "longest plane that the device accepts (default: the machine's)";
    Memory All "boundary" = "bytes, a power of two from 4KiB to 4GiB",
        "DMA boundary: no plane crosses a multiple of this (default: the machine's)";
    Picture ExceptGraphs "stride" = "a power of two from 1 to 4096",
        "alignment of line lengths, of a card: of framebuffers' pitches (default 1)";
    Memory All "coherent" = SWITCH,
        "the device sees the CPU's caches (default: as the machine's devices do)";
    Memory All "sync" = SWITCH,
        "off: the driver never syncs caches, so it needs memory that is coherent for it (default on)";
    Memory All "pages" = SWITCH,
        "on: the driver accepts only memory with struct pages (default off)";
    Memory All "protected" = "off, on or only",
        "access to the machine's protected memory: none, also that, or nothing else (default off)";
    Node Videos "node" = "videoN, N from 0 to 63",
        "number of the node (default: the lowest free one)";
    Node All "unplug" = presence::TIMES,
        "unplug at this time after the start, of a card: its monitors (default: only by `vb3 ctl unplug`)";
    Node All "plug" = presence::TIMES,
        "plug in at this time; without an earlier unplug= the device is absent before";
}
