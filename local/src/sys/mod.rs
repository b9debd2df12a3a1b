//! the few places that call the kernel unsafely.
