//! Builds images from Dockerfiles without `RUN`, without an engine.
//!
//! No engine, no root, no container: every other instruction only moves files and changes the
//! configuration, which is possible on a list of names. The same context gives the same digest at
//! any time and place: entries are sorted, owners and modes come from the Dockerfile, and all times
//! are equal, from the build argument `SOURCE_DATE_EPOCH` (seconds since 1970) or 0.
//!
//! A base image is resolved when the image is built; a later change of its tag does not make
//! [`crate::build`] build again. Use a digest where that matters.

mod archive;
mod args;
mod base;
mod budget;
mod check;
mod copy;
mod decompress;
mod dockerfile;
mod fault;
mod form;
mod layer;
mod mode;
mod parser;
mod pattern;
mod plan;
#[cfg(feature = "registry")]
mod registry;
mod settings;
mod stage;
mod tree;
mod users;
mod words;

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;

use self::args::{Given, Scope};
use self::base::BaseImage;
use self::dockerfile::{Dockerfile, Source};
use self::layer::Contents;
use self::plan::{Base, From, Plan};
use self::stage::{Image, Runner, Shared};
use self::tree::Tree;
use crate::builder::{Builder, Built, Output, Requirements, run_blocking};
use crate::context::Context;
use crate::request::{BuildRequest, Platform};
use crate::store::{Entry, Ingest, Store};
use crate::{Error, Result, left_out};

/// The builder without an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Daemonless;

/// Base images by name and platform.
type Images = BTreeMap<(String, Platform), BaseImage>;

#[async_trait]
impl Builder for Daemonless {
    async fn build(
        &self,
        request: &BuildRequest,
        store: &Store,
        output: &Output<'_>,
    ) -> Result<Built> {
        let source = {
            let request = request.clone();
            run_blocking(move || read(&request)).await?
        };
        let ingest = store.ingest()?;
        let images = fetch(&source, request, store, &ingest, output).await?;

        // The rest is file work; its messages arrive through a channel.
        let (lines, mut incoming) = tokio::sync::mpsc::unbounded_channel::<String>();
        let asked = request.clone();
        let (request, store) = (request.clone(), store.clone());
        let work =
            run_blocking(move || assemble(&source, &request, &store, &ingest, &images, &lines));
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(line) = incoming.recv() => output(&line),
                result = &mut work => {
                    while let Ok(line) = incoming.try_recv() {
                        output(&line);
                    }
                    return result.map_err(|error| left_out::explain(error, &asked));
                }
            }
        }
    }

    async fn check(&self, request: &BuildRequest) -> Result<()> {
        let request = request.clone();
        run_blocking(move || {
            check::check(&read(&request)?, &request)
                .map_err(|error| left_out::explain(error, &request))
        })
        .await
    }

    fn name(&self) -> &'static str {
        "daemonless"
    }
}

fn read(request: &BuildRequest) -> Result<Source> {
    // The context first: a missing directory is the more useful error.
    if !request.context.is_dir() {
        return Err(Error::ContextMissing {
            path: request.context.clone(),
        });
    }
    let text = request.read_dockerfile()?;
    Ok(Source::new(request.dockerfile_path(), text))
}

/// The optional parts that a build of `request` needs, by its Dockerfile alone.
///
/// # Errors
/// The Dockerfile cannot be read.
pub(crate) fn needs(request: &BuildRequest) -> Result<Requirements> {
    let source = read(request)?;
    let (dockerfile, plan, ..) = match prepare(&source, request) {
        Ok(prepared) => prepared,
        // An instruction for engines, or a newer syntax.
        Err(Error::Dockerfile(error)) => {
            return Ok(Requirements {
                engine: Some(format!(
                    "{}:{} needs a container engine: {}",
                    error.file.display(),
                    error.line,
                    error.text
                )),
                registry: None,
            });
        }
        Err(error) => return Err(error),
    };
    let steps = plan.steps.iter();
    let downloads = steps
        .clone()
        .flat_map(|step| &dockerfile.stages[step.stage].instructions)
        .find(|instruction| stage::downloads(instruction));
    let bases = steps.filter_map(|step| match &step.base {
        Base::Image(name) => Some(name),
        Base::Scratch | Base::Stage(_) => None,
    });
    let copied = plan.copied_images.iter().map(|(name, _)| name);
    Ok(Requirements {
        engine: downloads.map(|instruction| {
            format!(
                "{}:{} needs a container engine: {}",
                request.dockerfile_path().display(),
                instruction.line,
                source.line_text(instruction.line)
            )
        }),
        registry: bases
            .chain(copied)
            .find(|name| !base::is_layout(name))
            .map(|name| format!("{name} has to be pulled from its registry")),
    })
}

/// Plans the build and fetches the required images.
async fn fetch(
    source: &Source,
    request: &BuildRequest,
    store: &Store,
    ingest: &Ingest,
    output: &Output<'_>,
) -> Result<Images> {
    let wanted = {
        // Parsed again later: the parsed form borrows from the text and cannot be kept across an
        // await.
        let (dockerfile, plan, ..) = prepare(source, request)?;
        let mut wanted: Vec<_> = plan
            .copied_images
            .into_iter()
            .map(|image| (image, None))
            .collect();
        for step in plan.steps {
            if let Base::Image(name) = step.base {
                wanted.push((
                    (name, step.platform),
                    Some(dockerfile.stages[step.stage].from),
                ));
            }
        }
        wanted
    };
    let mut images = Images::new();
    for (key, from) in wanted {
        if !images.contains_key(&key) {
            let image = base::find(&key.0, &key.1, request, store, ingest, output).await?;
            images.insert(key.clone(), image);
        }
        // Only the ONBUILD instructions of a base are executed, not those of an image in `COPY --from`. What cannot be
        // executed is refused before any work.
        if let (Some(from), Some(image)) = (from, images.get(&key)) {
            base::triggers(image, &key.0, source, from)?;
        }
    }
    Ok(images)
}

/// The parsed Dockerfile, its build plan, and its global variables.
fn prepare<'a>(
    source: &'a Source,
    request: &BuildRequest,
) -> Result<(Dockerfile<'a>, Plan, Given, Scope)> {
    let dockerfile = Dockerfile::parse(source)?;
    let last = dockerfile
        .stages
        .last()
        .and_then(|stage| stage.name.clone());
    let target = request.target.clone().or(last);
    let mut given = Given::new(&request.args, &request.platform, target.as_deref());
    let global = Scope::global(
        source,
        dockerfile.escape,
        &dockerfile.global_args,
        &mut given,
    )?;
    let plan = plan::plan(
        &dockerfile,
        request.target.as_deref(),
        &request.platform,
        &global,
    )?;
    Ok((dockerfile, plan, given, global))
}

/// Builds the planned stages and adds the last one to the store.
fn assemble(
    source: &Source,
    request: &BuildRequest,
    store: &Store,
    ingest: &Ingest,
    images: &Images,
    lines: &UnboundedSender<String>,
) -> Result<Built> {
    // The receiver is gone if the build was cancelled; the work is nearly done then.
    let say = |line: String| drop(lines.send(line));
    let (dockerfile, plan, mut given, global) = prepare(source, request)?;
    let epoch = epoch(request)?;
    let created = rfc3339(epoch);
    let context = Context::open(request)?;
    let hash = request.identity_of(&context)?;
    let context = Tree::of_context(&context);
    let mut contents = Contents::new()?;
    let mut trees: BTreeMap<(String, Platform), Tree> = BTreeMap::new();
    for (key, image) in images {
        trees.insert(key.clone(), tree_of(image, store, &mut contents)?);
    }

    let shared = Shared {
        dockerfile: &dockerfile,
        global: &global,
        ingest: Some(ingest),
        context: &context,
        epoch,
        created: &created,
    };
    let mut done: BTreeMap<usize, Image> = BTreeMap::new();
    for step in &plan.steps {
        let stage = &dockerfile.stages[step.stage];
        let name = stage
            .name
            .clone()
            .unwrap_or_else(|| format!("stage {}", step.stage));
        let count = stage.instructions.len() + 1;
        say(format!(
            "[{name} 1/{count}] {}",
            source.line_text(stage.from)
        ));
        let mut triggers = Vec::new();
        let base = match &step.base {
            Base::Scratch => Image::scratch(&step.platform),
            Base::Stage(number) => built(&done, *number)?.clone(),
            Base::Image(name) => {
                let key = (name.clone(), step.platform.clone());
                let base = images
                    .get(&key)
                    .ok_or_else(|| Error::invalid(name, "it was not fetched"))?;
                let tree = trees.get(&key).cloned().unwrap_or_default();
                triggers = base::triggers(base, name, source, stage.from)?;
                let mut config = base.config.clone();
                config.config.on_build.clear();
                Image {
                    config,
                    layers: base.layers.clone(),
                    tree,
                    variables: BTreeMap::new(),
                }
            }
        };
        let mut runner = Runner::new(&shared, &mut contents, &mut given, base);
        for (trigger, text) in &triggers {
            say(format!("[{name}] ONBUILD {text}"));
            runner.run(trigger, text, None)?;
        }
        for (number, instruction) in stage.instructions.iter().enumerate() {
            let text = source.line_text(instruction.line);
            say(format!("[{name} {}/{count}] {text}", number + 2));
            let from = match plan::copy_source(&dockerfile, step.stage, instruction)? {
                Some(From::Stage(number)) => Some(&built(&done, number)?.tree),
                Some(From::Image(image)) => trees.get(&(image, request.platform.clone())),
                None => None,
            };
            runner.run(instruction, text, from)?;
        }
        let image = runner.finish();
        done.insert(step.stage, image);
    }
    for name in given.unused() {
        say(format!(
            "the build argument {name} is not used: no ARG names it"
        ));
    }
    let last = plan.steps.last().map_or(0, |step| step.stage);
    let image = built(&done, last)?;
    let entry = Entry {
        source: Some(hash.clone()),
        ..Entry::default()
    };
    let stored = ingest.commit(&image.config, image.layers.clone(), &entry)?;
    say(format!("built {}", stored.manifest_digest));
    Ok(Built {
        manifest_digest: stored.manifest_digest,
        config_digest: stored.config_digest,
        source: hash,
        builder: Some("daemonless".to_owned()),
    })
}

fn built(done: &BTreeMap<usize, Image>, stage: usize) -> Result<&Image> {
    // Stages are built in order and refer to earlier ones only.
    done.get(&stage)
        .ok_or_else(|| Error::invalid(format!("stage {stage}"), "it was not built"))
}

/// The files of an image, and the location of their contents.
fn tree_of(image: &BaseImage, store: &Store, contents: &mut Contents) -> Result<Tree> {
    let mut tree = Tree::default();
    let budget = budget::Budget::new("the image");
    for layer in &image.layers {
        layer::apply(store, layer, &mut tree, &budget)?;
        contents.add_layer(store, layer);
    }
    Ok(tree)
}

/// The timestamp of all files, in seconds since 1970. Only a build argument can set it: an
/// environment variable would change the image without changing its identity.
fn epoch(request: &BuildRequest) -> Result<u64> {
    let Some(text) = request.args.get("SOURCE_DATE_EPOCH") else {
        return Ok(0);
    };
    // RFC 3339 ends with the year 9999.
    text.parse()
        .ok()
        .filter(|epoch| *epoch < 253_402_300_800)
        .ok_or_else(|| Error::Argument {
            name: "SOURCE_DATE_EPOCH".to_owned(),
            problem: format!("\"{text}\" is not a number of seconds since 1970"),
        })
}

/// Seconds since 1970 in RFC 3339, in UTC.
fn rfc3339(epoch: u64) -> String {
    let (days, seconds) = (epoch / 86_400, epoch % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March,
    // so that the leap day is the last one.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (epoch, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(epoch), want);
        }
    }
}
