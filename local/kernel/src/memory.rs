//! Memory that was freed goes back to the system.

#![expect(
    unsafe_code,
    reason = "the C library has no safe interface to its allocator"
)]

/// Gives back what the C library keeps of freed memory. It takes milliseconds when there is much.
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the allocator's own locks and touches free memory only.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
