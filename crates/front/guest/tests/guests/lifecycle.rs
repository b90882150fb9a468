//! VMMs that come, go, return and lack something.
