//! Guests and VMMs that mean harm.
