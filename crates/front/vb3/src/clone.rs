//! `vb3 clone`: describes a real capture device, so that `--device` can play it.

use crate::cli::CloneArgs;
use anyhow::{Context as _, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{File, read_to_string};
use std::io::Write;
use std::os::fd::AsFd as _;
use std::path::Path;
use vb3_devices::description::{Client, Usb, describe, measure, print as text_of};

#[expect(unsafe_code, reason = "an ioctl on a real device")]
mod ioctl;

/// Longest wait for a frame in seconds.
const MAX_WAIT_S: i64 = 10;

/// Prints the description of a device.
///
/// # Errors
/// The device cannot be opened or described, or `out` cannot be written.
pub fn print(args: &CloneArgs, out: &mut dyn Write) -> Result<()> {
    let name = args.device.display();
    let file = File::options().read(true).write(true).open(&args.device);
    let file = file.with_context(|| {
        format!("cannot open {name} (`v4l2-ctl --list-devices` lists the devices)")
    })?;
    let usb = usb(&args.device, args.serial);
    let mut ioctl = |request: u32, arg: &mut [u8]| ioctl::video_call(file.as_fd(), request, arg);
    let mut client = Client(&mut ioctl);
    let fail = |why: String| anyhow!("{name}: {why}");
    let mut described = describe(&mut client, usb).map_err(fail)?;
    if args.seconds > 0 {
        let mut wait = || {
            let patience = Timespec {
                tv_sec: MAX_WAIT_S,
                tv_nsec: 0,
            };
            let mut device = [PollFd::new(&file, PollFlags::IN)];
            poll(&mut device, Some(&patience)).is_ok_and(|ready| ready > 0)
        };
        let mut now_ns = || {
            let now = clock_gettime(ClockId::Monotonic);
            let part = |part: i64| u64::try_from(part).unwrap_or(0);
            part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
        };
        let (seconds, described) = (args.seconds, &mut described);
        measure(described, seconds, &mut client, &mut wait, &mut now_ns).map_err(fail)?;
    }
    write!(out, "{}", text_of(&described, &name.to_string()))?;
    Ok(())
}

/// Reads the identity of a node's USB device from sysfs; `None` for other devices.
fn usb(device: &Path, wants_serial: bool) -> Option<Usb> {
    let node = device.canonicalize().ok()?;
    let node = node.file_name()?.to_str()?;
    let device = format!("/sys/class/video4linux/{node}/device/..");
    let read = |file: &str| {
        let text = read_to_string(format!("{device}/{file}")).ok()?;
        Some(text.trim_end_matches('\n').to_owned())
    };
    let id = format!("{}:{}", read("idVendor")?, read("idProduct")?);
    Some(Usb {
        id: id.try_into().ok()?,
        revision: read("bcdDevice"),
        manufacturer: read("manufacturer"),
        product: read("product"),
        serial: read("serial").filter(|_| wants_serial),
    })
}
