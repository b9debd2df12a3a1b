//! the few places that call the kernel unsafely.

pub(crate) mod cgroup;
pub(crate) mod descriptors;
pub(crate) mod fds;
pub(crate) mod memory;
pub(crate) mod netns;
pub(crate) mod oom;
pub(crate) mod process;
pub(crate) mod rooted;
pub(crate) mod sandbox;
pub(crate) mod signal;
