//! Tests of the mapping layer on the simulated host.

mod bounce;
mod caches;
mod coherent;
mod contexts;
mod devices;
mod faults;
mod flush;
mod granule;
mod hosts;
mod mapped;
mod misuse;
mod owners;
mod races;
mod rings;
