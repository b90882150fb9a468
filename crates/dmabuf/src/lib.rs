//! dma-buf: one buffer shared between devices. (Being written.)
#![no_std]
#![forbid(unsafe_code)]
