//! Programs' view of /dev, /sys and udev: paths, the generated tree, directory listings, uevents.

pub(crate) mod folder;
mod generated;
mod listing;
pub(crate) mod monitor;
mod path;
mod shown;
pub(crate) mod uevent;
mod view;

pub(crate) use generated::{Found, Tree};
pub(crate) use listing::{MAX_LISTED, entries, is_tree, list_ours, native_entries};
pub(crate) use monitor::{Monitors, field, word};
pub(crate) use path::{
    HOPS, Links, MAX, PathTarget, base_link, base_of, file_name, is_plain, may_be_shown, normalise,
    split_last, through,
};
pub(crate) use shown::{Showing, Shown, Told};
pub(crate) use uevent::Uevent;
pub(crate) use view::{View, of_path};
