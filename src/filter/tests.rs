//! Unit tests of the whole.
