//! The mapping layer over a platform. (Being written.)

/// Implements [`DmaOps`](crate::DmaOps) over a [`Platform`](crate::Platform).
#[derive(Debug)]
pub struct Mapper<P> {
    platform: P,
}
