//! Tests of the free-run sets.
