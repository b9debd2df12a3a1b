//! What the tests have in common: topologies and packets.

mod packets;
mod topologies;

pub(super) use landfall_kernel::testing::isolated_test;

pub(super) use self::packets::*;
pub(super) use self::topologies::*;
