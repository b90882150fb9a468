//! Checks which public types may move to another thread, and which threads may share. Host types that are `Send` and
//! `Sync` stand for a host's own.

use super::{Log, Ops};
use crate::{Allocator, Cookie, Device, Plane, PlaneError, Planes, UserMemory, View};
use vb3_dma_test::fake::Mutexes;

#[test]
fn types_say_which_threads_they_may_visit() {
    fn any_thread<T: Send + Sync>() {}
    fn one_thread<T: Send>() {}
    // All parameters that a host provides.
    any_thread::<UserMemory<Ops>>();
    // The host's lock type decides whether several threads may share the value.
    any_thread::<Planes<Ops, (), Mutexes>>();
    one_thread::<Planes<Ops, Log>>();
    any_thread::<(Device<u8>, Plane<u8>)>();
    // Types without parameters.
    any_thread::<(Allocator, Cookie, View, PlaneError)>();
}
