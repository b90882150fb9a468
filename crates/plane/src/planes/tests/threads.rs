//! Which threads the public types may visit. A type parameter that is `Send` and `Sync` stands for the
//! host's part.

use super::Log;
use crate::{
    AllocArgs, Allocator, Cookie, Counters, CpuView, Device, Due, Live, Memory, Plane, PlaneError,
    PlaneMmap, Planes, RefusedImport, SgView, Short, UserId, UserMemory, UserRange,
};
use std::sync::Mutex;
use vb3_dma::{Lock, Locks};
use vb3_dmabuf::fake::Fake;

/// Locks for threads.
struct Mutexes;

struct Guarded<T>(Mutex<T>);

impl Locks for Mutexes {
    type Lock<T> = Guarded<T>;
}

impl<T> Lock<T> for Guarded<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().expect("no panic"))
    }
}

#[test]
fn types_say_which_threads_they_may_visit() {
    fn any_thread<T: Send + Sync>() {}
    fn one_thread<T: Send>() {}
    // With all that a host has in it.
    any_thread::<(UserMemory<Fake>, UserRange<Fake>)>();
    // By the host's locks: any thread, or one at a time.
    any_thread::<Planes<Fake, (), Mutexes>>();
    one_thread::<Planes<Fake, Log>>();
    any_thread::<(Device<u8>, Plane<u8>, PlaneMmap<u8>, RefusedImport<u8>)>();
    // Values.
    any_thread::<(AllocArgs, Allocator, Cookie, Counters, CpuView, Due, Live)>();
    any_thread::<(Memory, PlaneError, SgView, Short, UserId)>();
}
