//! What the tests have in common: topologies and packets.

mod packets;
mod topologies;

pub(crate) use landfall_kernel::testing::isolated_test;

pub(super) use self::packets::*;
pub(super) use self::topologies::*;
