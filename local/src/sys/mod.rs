//! the few places that call the kernel unsafely.

pub(crate) mod process;
pub(crate) mod sandbox;
