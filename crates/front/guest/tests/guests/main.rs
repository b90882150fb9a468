//! Guests without a virtual machine: `vhost`'s front end is the VMM, and a small virtio driver the guest.

mod client;
mod cost;
mod guest;
mod hostile;
mod lifecycle;
mod objects;
mod process;
mod random;
mod same;
mod vmm;
