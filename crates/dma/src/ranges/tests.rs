//! Tests of the range allocator.
