//! Random calls in a process and in a guest.
