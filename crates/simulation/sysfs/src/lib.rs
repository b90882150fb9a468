//! The entries of simulated devices in sysfs and udev's database.
//!
//! This crate only makes paths and contents. A front end shows them to programs.
//!
//! ```
//! use vb3_sysfs::{Device, Location, VideoNode};
//!
//! let location = Location::simulated(0);
//! let device = Device { location: &location, driver: "vb3", card: "Test camera", since_us: 0 };
//! let node = VideoNode {
//!     device,
//!     path: "/dev/video0",
//!     number: 0,
//!     name: "Test camera",
//!     index: 0,
//!     capabilities: Some(":capture:"),
//! };
//! let (link, target) = node.links().pop().expect("a link");
//! assert_eq!(link.to_str(), Some("/dev/v4l/by-path/platform-vb3-000-video-index0"));
//! assert_eq!(target.to_str(), Some("/dev/video0"));
//! ```
#![forbid(unsafe_code)]

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod card;
mod location;
mod names;
mod udev;
mod usb;

pub use card::{CardNode, Connector, DRM_MAJOR};
pub use location::{Location, Platform, simulated_name};
pub use udev::{Device, File, Link, VideoNode};
pub use usb::{Usb, UsbId, Webcam};
