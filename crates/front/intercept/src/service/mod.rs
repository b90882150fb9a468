//! The threads that serve calls, and the stages of each call: gather, apply, answer.
//!
//! | thread or process of a run | work |
//! |---|---|
//! | receivers, up to 1,024 | gather, apply, answer; one receives at a time |
//! | the clock | ticks, timeouts, closed files, ended processes; starts another receiver if one stalls |
//! | `vb3-sets`, up to 64 | change programs' epoll sets; the changes of one set stay in order |
//! | one thread per clip, recording, large converter | decodes, writes, converts |
//! | one codec process per stream | runs a codec library, confined |

mod closes;
mod crowd;
mod dispatch;
mod epolls;
mod host;
mod leftover;
mod locks;
mod mmap;
mod monitors;
mod open;
mod paths;
mod places;
mod polls;
mod pool;
mod retry;
mod serve;
mod shows;
mod stat;
mod supervisor;
mod transfers;
mod wakes;

pub(crate) use crowd::Crowd;
pub(crate) use host::{Call, Events, Host};
pub(crate) use leftover::Ending;
pub(crate) use pool::Pool;
pub(crate) use serve::{Served, Server, Verdict};
pub(crate) use supervisor::Supervisor;
pub(crate) use wakes::WakeSet;
