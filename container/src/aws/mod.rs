//! The AWS implementation of images: repositories in ECR, and the images in them. One file per
//! kind, the same operations in the same order.

mod check;
mod image;
mod login;
mod repository;

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ecr::Client;
use landfall_aws::Aws;
use landfall_provider::{Events, Result, StackName};

use crate::ImageBuilder;

pub use check::check;

/// Sets the image builder of this session; by default it uses the default store, and discards
/// builder output.
pub fn make_in(aws: &Aws, image_builder: ImageBuilder) {
    *bench(aws).lock().unwrap_or_else(PoisonError::into_inner) = Some(image_builder);
}

type Bench = Arc<Mutex<Option<ImageBuilder>>>;

fn bench(aws: &Aws) -> Bench {
    aws.client(|_| Bench::default())
}

fn image_builder(aws: &Aws) -> Result<ImageBuilder> {
    let bench = bench(aws);
    let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
    match &*bench {
        Some(image_builder) => Ok(image_builder.clone()),
        None => Ok(bench
            .insert(ImageBuilder::open(None, Events::nowhere())?)
            .clone()),
    }
}

fn client(aws: &Aws) -> Client {
    aws.client(Client::new)
}

/// The name in a repository's id, which is its address: `<registry>/<name>`.
fn name(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, name)| name)
}

/// The prefix of the names of a stack's repositories.
fn prefix(stack: &StackName) -> String {
    format!("{stack}/")
}
