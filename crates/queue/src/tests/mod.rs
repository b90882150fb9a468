//! Tests of the whole queue.
