//! The host that the tests use.
#![allow(unused_imports, reason = "each test binary uses its own part")]

pub(crate) use vb3_dma::fake::{DIRT, Fake, PAGE, POOL, RAM, SRAM, Setup, ram, sram};
