//! the kernel's network configuration over netlink.
