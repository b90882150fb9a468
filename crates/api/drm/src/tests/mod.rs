//! Replays errno rows of stock vkms, which `tests/data` has, and checks what the rows do not say.

mod atomic;
mod bench;
mod buffers;
mod files;
mod modes;
mod random;
mod remains;
mod writeback;
