//! Tests of the page table.
