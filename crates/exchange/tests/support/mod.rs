//! What the tests of sessions share.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod authority;
pub(crate) mod side;
