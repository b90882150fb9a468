//! Devices that are plugged and unplugged while programs run.
//!
//! An unplugged device closes all its files, as a driver does on disconnect: streams stop and buffers are
//! freed. Programs keep their descriptors, mappings, dma-bufs and imports until they close them. Every call
//! on a descriptor of the device's files fails with ENODEV, and an ioctl on its media device with EIO. Media
//! requests lose their buffers and answer as before: a queued one is complete, an idle one empty.
//!
//! Source: Linux 7.2 drivers/media/v4l2-core/v4l2-dev.c `video_unregister_device`,
//! drivers/media/common/videobuf2/videobuf2-v4l2.c `vb2_video_unregister_device`,
//! drivers/media/mc/mc-devnode.c `__media_ioctl`, mc-request.c `request_fops`. Differs: a
//! waiting call ends with ENODEV, where a vb2 driver ends DQBUF with EINVAL or EIO. The device gets
//! its number again while files from before are still open. Controls and formats keep their values.

use crate::Run;
use crate::clock::since_boot_ns;
use crate::kinds::{GoneMedia, GoneVideo, Kind as _, MediaFiles, VideoFiles};
use crate::node::Node;
use crate::unseen::Unseen;
use vb3_devices::spec::Presence;
use vb3_frontend::{Change, Hotplug, NodeId};

/// Maximum number of hotplug events that programs have not seen yet. If so many are unseen, orders and scripts
/// cannot plug or unplug devices. The devices' own options can: they give each device at most two times.
const MAX_UNSEEN: usize = 1024;

/// Which devices are plugged in.
#[derive(Debug)]
pub(super) struct Plugs {
    /// One entry per node.
    present: Vec<bool>,
    /// How often each device was unplugged.
    unplugged: Vec<u32>,
    /// When the run began, in nanoseconds.
    begun_ns: u64,
    /// Coming events: nanoseconds since the run began, the device's index (display cards follow the nodes), and
    /// whether it is plugged in (`true`) or unplugged. The next event is last.
    due: Vec<(u64, usize, bool)>,
    /// Events that programs have not seen yet.
    pub(super) unseen: Unseen<Hotplug>,
}

impl Plugs {
    /// Makes the state of a run that starts now. `cards` has the options of the display cards.
    pub(super) fn new(nodes: &[Node], cards: impl Iterator<Item = Presence>, now_ns: u64) -> Self {
        let mut due = Vec::new();
        let presences = nodes.iter().map(|node| node.presence).chain(cards);
        for (at, presence) in presences.enumerate() {
            for (after, comes) in [(presence.plug_ns, true), (presence.unplug_ns, false)] {
                due.extend(after.map(|ns| (ns, at, comes)));
            }
        }
        due.sort_by(|a, b| b.cmp(a));
        Self {
            present: vec![true; nodes.len()],
            unplugged: vec![0; nodes.len()],
            begun_ns: now_ns,
            due,
            unseen: Unseen::default(),
        }
    }

    /// Returns whether a device is plugged in.
    pub(super) fn is_present(&self, at: usize) -> bool {
        self.present.get(at).copied().unwrap_or(false)
    }

    /// Returns whether programs have seen enough earlier events.
    pub(super) fn has_room(&self) -> bool {
        self.unseen.len() < MAX_UNSEEN
    }

    /// Counts the times of coming events from now on, because the clock gets another pace.
    pub(super) const fn begin(&mut self, now_ns: u64) {
        self.begun_ns = now_ns;
    }

    /// Returns when the next device is plugged or unplugged.
    pub(super) fn next_due(&self) -> Option<u64> {
        let (after, ..) = self.due.last()?;
        Some(self.begun_ns.saturating_add(*after))
    }

    /// Returns the report's notes on unplugged devices.
    pub(super) fn remarks(&self, nodes: &[Node]) -> Vec<String> {
        let gone = nodes.iter().zip(&self.unplugged);
        gone.filter(|(_, times)| **times > 0)
            .map(|(node, times)| {
                let path = &node.path;
                let often = match times {
                    1 => "once".to_owned(),
                    times => format!("{times} times"),
                };
                format!("{path} was unplugged {often}; calls on files of it failed with ENODEV")
            })
            .collect()
    }
}

impl Run {
    /// Removes the devices that are absent at the start, before any program sees them.
    pub(super) fn remove_absent(&mut self) {
        for at in 0..self.nodes.len() {
            let node = self.nodes.get(at);
            if node.is_some_and(|node| !node.presence.at_start()) {
                self.plug(at, false);
            }
        }
        self.nodes.plugs.unplugged.fill(0);
    }

    /// Plugs or unplugs the devices whose time has come.
    pub(super) fn plug_on_time(&mut self, now_ns: u64) {
        let is_due = |plugs: &Plugs| plugs.next_due().is_some_and(|due| due <= now_ns);
        while is_due(&self.nodes.plugs)
            && let Some((_, at, comes)) = self.nodes.plugs.due.pop()
        {
            self.plug_any(at, comes);
        }
    }

    /// Plugs or unplugs a device, or all monitors of a display card. Returns `false` if this changes nothing.
    fn plug_any(&mut self, at: usize, comes: bool) -> bool {
        match self.nodes.card_number(at) {
            Some(card) => self.plug_monitors(card, None, comes),
            None => self.plug(at, comes),
        }
    }

    /// Plugs or unplugs a device as `plug_any` does, unless programs have not seen [`MAX_UNSEEN`] earlier events
    /// yet.
    pub(super) fn plug_if_room(&mut self, at: usize, comes: bool) -> bool {
        self.nodes.plugs.has_room() && self.plug_any(at, comes)
    }

    /// Plugs or unplugs a device with all its nodes. Returns `false` if this changes nothing.
    pub(super) fn plug(&mut self, at: usize, comes: bool) -> bool {
        let present = self.nodes.plugs.present.get(at).copied();
        if present != Some(!comes) {
            return false;
        }
        let all = self.siblings(at);
        for &at in &all {
            if let Some(present) = self.nodes.plugs.present.get_mut(at) {
                *present = comes;
            }
            if !comes {
                self.disconnect(at);
            } else if let Some(node) = self.nodes.get_mut(at) {
                node.since_us = since_boot_ns() / 1000;
            }
        }
        if !comes && let Some(times) = self.nodes.plugs.unplugged.get_mut(at) {
            *times = times.saturating_add(1);
        }
        let videos = all.iter();
        let videos = videos.filter_map(|at| self.kinds.node_id(VideoFiles::NAME, *at));
        // A media device is registered last and removed first. uvcvideo removes it last.
        let media = all.iter().filter_map(|at| {
            let number = self.files.media.number_of(*at)?;
            self.kinds.node_id(MediaFiles::NAME, number)
        });
        let mut nodes: Vec<NodeId> = videos.chain(media).collect();
        let is_usb = self
            .nodes
            .get(at)
            .is_some_and(|node| node.location.is_usb());
        if !comes && !is_usb {
            nodes.reverse();
        }
        let change = match comes {
            true => Change::Added,
            false => Change::Removed,
        };
        let events = nodes.into_iter().map(|node| Hotplug { node, change });
        self.nodes.plugs.unseen.extend(events);
        true
    }

    /// Returns the indices of all nodes of one device: the device of the node `at`.
    fn siblings(&self, at: usize) -> Vec<usize> {
        let Some(node) = self.nodes.get(at) else {
            return Vec::new();
        };
        let all = self.nodes.iter().enumerate();
        let all = all.filter(|(_, other)| other.shares_device(node));
        all.map(|(at, _)| at).collect()
    }

    /// Closes every file of a device. Programs keep their descriptors.
    fn disconnect(&mut self, at: usize) {
        let videos = self.files.videos.of(at).into_iter();
        let videos = videos.map(|file| (file, GoneVideo.name()));
        let media = self.files.media.disconnect(at).into_iter();
        let media = media.map(|file| (file, GoneMedia.name()));
        for (file, gone) in videos.chain(media).collect::<Vec<_>>() {
            self.release_file(file);
            self.waits.changed.insert(file);
            self.kinds.add(file, gone);
        }
    }
}

impl Run {
    /// Plugs or unplugs a device. Returns its index among the nodes.
    pub(super) fn plug_by_name(&mut self, device: &str, comes: bool) -> Result<usize, String> {
        let at = self.named(device)?;
        let card = self.nodes.card_number(at);
        let is_done = match (card, self.card_named(device)) {
            (Some(card), Some((_, one @ Some(_)))) if self.nodes.plugs.has_room() => {
                self.plug_monitors(card, one, comes)
            }
            _ => self.plug_if_room(at, comes),
        };
        if is_done {
            return Ok(at);
        }
        let path = match card {
            Some(_) => format!("the monitor of {device}"),
            None => self.path_of(at),
        };
        Err(match comes {
            _ if !self.nodes.plugs.has_room() => {
                format!("programs have not seen {MAX_UNSEEN} earlier changes yet; wait")
            }
            true => format!("{path} is plugged in already"),
            false => format!("{path} is unplugged already"),
        })
    }

    /// Returns a device's index. Indices count the nodes of video devices first, and then the display cards.
    pub(super) fn named(&self, device: &str) -> Result<usize, String> {
        let name = device.strip_prefix("/dev/").unwrap_or(device);
        let number = name.strip_prefix("video").unwrap_or(name);
        let number = number.parse::<u32>().ok();
        let is_it = |node: &Node| Some(node.number()) == number && node.is_listed();
        let at = self.nodes.iter().position(is_it);
        let at = at.or_else(|| self.card_named(device).map(|(at, _)| at));
        at.ok_or_else(|| {
            let devices = self.nodes.iter().filter(|node| node.is_listed());
            let cards = self.cards.all.iter().map(|card| card.path.as_str());
            let paths: Vec<&str> = devices.map(|node| &*node.path).chain(cards).collect();
            format!(
                "\"{device}\" is not a device of this run; the run has {}",
                paths.join(", ")
            )
        })
    }
}
