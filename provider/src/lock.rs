//! One change to a stack at a time.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::StackName;

/// Who holds a lock: shown to whoever finds it taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What it is doing: `deploy`, `destroy`.
    pub doing: String,
    /// Who, as user and machine: `ana@build-3`.
    pub who: String,
    /// The process.
    pub pid: u32,
}

/// A lock that is held until this is dropped.
pub struct LockGuard(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl LockGuard {
    /// Keeps whatever ends the lock when it is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}

impl std::fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockGuard")
    }
}

/// A provider that lets one run at a time change a stack.
#[async_trait]
pub trait StackLock: Send + Sync {
    /// Takes the lock, or fails at once with [`InUse`](crate::ErrorKind::InUse) naming the holder and since when.
    async fn lock(&self, stack: &StackName, holder: Holder) -> Result<LockGuard>;
}
