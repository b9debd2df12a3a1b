//! Builds before the plan: only the digest of an image shows whether a changed build context is a new release.

use futures::future::try_join_all;
use landfall_container::{Digest, Image, ImageOutput};
use landfall_provider::{Action, Event, Found, Key, Plan, Probe, Reason, Snapshot, Step, kind};
use serde::Deserialize as _;

use crate::cloud::Cloud;
use crate::outcome::{Failure, Stage};
use crate::run::Run;
use crate::stack::Sources;

/// An existing image with the same digest as a build from a changed context.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SameImage {
    key: Key,
    /// The desired image, in its repository.
    desired: Image,
    /// The image as the provider lists it.
    held: Image,
    /// Whether the provider knows the new source.
    recorded: bool,
}

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// Builds each image that would replace an existing one, and returns those with an existing digest.
    ///
    /// The images of a new stack are built during the deploy: there is no image to compare with.
    pub(crate) async fn same_images(
        &self,
        plan: &Plan,
        live: &Snapshot,
    ) -> Result<Vec<SameImage>, Box<Failure>> {
        let rebuilt = plan.steps.iter().filter_map(rebuilt);
        let building = rebuilt.map(|(key, desired)| self.same_image(key, desired, live));
        let mut same: Vec<SameImage> = tokio::select! {
            biased;
            built = try_join_all(building) => built?.into_iter().flatten().collect(),
            () = self.options.apply.stop.cancelled() => return Err(Failure::interrupted()),
        };
        same.extend(plan.steps.iter().filter_map(|step| kept(step, live)));
        Ok(same)
    }

    async fn same_image(
        &self,
        key: &Key,
        desired: Image,
        live: &Snapshot,
    ) -> Result<Option<SameImage>, Box<Failure>> {
        let digest = self.cloud.prebuild(key, &desired).await.map_err(|error| {
            let message = "the image cannot be built, and the plan needs it";
            Failure::of(Stage::Build, message, error.doing("building", key))
        })?;
        Ok(held(live, key, &digest, &desired).map(|held| SameImage {
            key: key.clone(),
            desired: Image {
                repository: held.repository.clone(),
                ..desired
            },
            held,
            recorded: false,
        }))
    }

    /// Stores the new sources of images at the provider, so that the next plan need not build them.
    pub(crate) async fn record_sources(&self, same: &[SameImage]) {
        for SameImage { key, desired, .. } in same.iter().filter(|image| !image.recorded) {
            let recording = self.cloud.record_source(self.stack, key, desired);
            if let Err(error) = self.options.request_timeout.answer(recording).await {
                let text = format!(
                    "{key} is unchanged, and that was not recorded: the next plan builds it again ({error})"
                );
                self.options.apply.events.emit(Event::Notice { text });
            }
        }
    }
}

/// The stored sources of these images.
pub(crate) fn with_held(mut sources: Sources, same: &[SameImage]) -> Sources {
    for image in same {
        sources.insert(image.key.name.clone(), image.held.source.clone());
    }
    sources
}

/// The existing image with this digest; of several sources, the first, because saved plans compare it.
fn held(live: &Snapshot, key: &Key, digest: &Digest, desired: &Image) -> Option<Image> {
    let found = live.found().iter().filter(|found| &found.key == key);
    let of_digest = found.filter(|found| digest_of(found).as_ref() == Some(digest));
    let images = of_digest.filter_map(image);
    images
        .filter(|image| image.platform == desired.platform)
        .min_by(|one, other| one.source.cmp(&other.source))
}

/// An unchanged image that has another source, too.
fn kept(step: &Step, live: &Snapshot) -> Option<SameImage> {
    let Action::Keep { live: found } = &step.action else {
        return None;
    };
    if step.key.kind != kind::IMAGE {
        return None;
    }
    let desired = image(found)?;
    let held = held(live, &step.key, &digest_of(found)?, &desired)?;
    (held.source != desired.source).then(|| SameImage {
        key: step.key.clone(),
        desired,
        held,
        recorded: true,
    })
}

/// The image of a step that is only a new source.
fn rebuilt(step: &Step) -> Option<(&Key, Image)> {
    let Action::Create {
        desired,
        because: Some(Reason::Replaced(fields)),
    } = &step.action
    else {
        return None;
    };
    let for_source = fields.iter().all(|field| field.field == "source");
    if step.key.kind != kind::IMAGE || !for_source {
        return None;
    }
    Some((&step.key, Image::deserialize(desired).ok()?))
}

fn image(found: &Found) -> Option<Image> {
    Image::deserialize(&found.spec).ok()
}

fn digest_of(found: &Found) -> Option<Digest> {
    match &found.state {
        Probe::Usable(output) => Some(ImageOutput::deserialize(output).ok()?.digest),
        _ => None,
    }
}
