//! The seam below: what a machine must offer. (Being written.)

/// What a machine offers to the mapping layer.
pub trait Platform {}
