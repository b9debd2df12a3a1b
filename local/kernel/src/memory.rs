//! The return of freed memory to the system.

#![expect(
    unsafe_code,
    reason = "the C library has no safe interface to its allocator"
)]

/// Returns free memory of the C library to the system. With much free memory, this takes milliseconds.
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the allocator's own locks and touches free memory only.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
