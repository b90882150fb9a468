//! Queues over real planes, the mapping layer and a simulated machine: bytes, faults and time.

mod faults;
mod lab;
mod model;
mod ownership;
mod random;
mod trace;
