//! A repository of images: one per service.

use landfall_provider::{DataLoss, Kind, Reference, RepositoryId, Resource, kind};
use serde::{Deserialize, Serialize};

/// A repository with the images of one service. It is deleted with its stack, including its images.
///
/// Its id is the address of its images: `digipay/web` where the name is enough,
/// `<account>.dkr.ecr.<region>.amazonaws.com/digipay/web` on AWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its name: `digipay/web`.
    pub name: String,
    /// The number of images that it keeps, from 1; the oldest ones above it are deleted.
    pub keep: u32,
}

impl Resource for Repository {
    const KIND: Kind = kind::REPOSITORY;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["name"];
    const DATA_LOSS: DataLoss = DataLoss::Words("its images");
    type Id = RepositoryId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        Vec::new()
    }
}
