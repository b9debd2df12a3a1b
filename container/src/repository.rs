//! A repository of images: one for each service.

use landfall_provider::{DataLoss, Kind, Reference, RepositoryId, Resource, kind};
use serde::{Deserialize, Serialize};

/// A repository that holds the images of one service, and ends with its stack, images and all.
///
/// Its id is what its images are addressed by: `digipay/web` where the name alone says it,
/// `<account>.dkr.ecr.<region>.amazonaws.com/digipay/web` at AWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its name: `digipay/web`.
    pub name: String,
    /// How many images it keeps, from 1; when there are more, the oldest go.
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
