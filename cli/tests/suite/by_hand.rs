//! Manual changes to the resources of a stack, outside Landfall.

use landfall_local::{Local, LocalOptions};
use landfall_provider::{Live, Provider, Resource, StackName};

use crate::support::Project;

/// Changes the resource of this kind and name.
pub(crate) fn by_hand<R: Resource>(
    project: &Project,
    stack: &str,
    name: &str,
    deed: impl AsyncFnOnce(&Local, Live<R>) -> landfall_provider::Result<()>,
) where
    Local: Provider<R>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = Local::open(LocalOptions {
        dir: Some(project.runtime_dir()),
        image_store: Some(project.runtime_dir().with_file_name("images")),
        ..LocalOptions::default()
    })
    .unwrap();
    runtime.block_on(async {
        let stack = StackName::new(stack).unwrap();
        let found = Provider::<R>::list(&local, &stack).await.unwrap();
        let one = found.into_iter().find(|live| live.name.as_str() == name);
        deed(&local, one.unwrap()).await.unwrap();
    });
}
