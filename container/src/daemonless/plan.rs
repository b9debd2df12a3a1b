//! The build plan: the required stages and images, known before anything is fetched.

use std::collections::BTreeSet;

use super::args::Scope;
use super::dockerfile::Dockerfile;
use super::form::{Instruction, Kind};
use crate::request::{Platform, PlatformError};
use crate::{Error, Result};

/// The stages to build, in order; the last one is the image.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The images of `COPY --from`, with their platforms.
    pub(super) copied_images: BTreeSet<(String, Platform)>,
}

/// One stage to build.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Its number in the Dockerfile.
    pub(super) stage: usize,
    pub(super) base: Base,
    pub(super) platform: Platform,
}

/// The base of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    Stage(usize),
    /// An image by name, expanded.
    Image(String),
}

/// The source of a `COPY --from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    Stage(usize),
    Image(String),
}

/// Plans the build of `dockerfile`.
pub(super) fn plan(
    dockerfile: &Dockerfile<'_>,
    target: Option<&str>,
    platform: &Platform,
    global: &Scope,
) -> Result<Plan> {
    let target = match target {
        None => dockerfile.stages.len() - 1,
        Some(name) => stage_named(dockerfile, name)?,
    };
    let mut needed = BTreeSet::new();
    let mut open = vec![target];
    let mut steps = Vec::new();
    let mut copied_images = BTreeSet::new();
    while let Some(number) = open.pop() {
        if !needed.insert(number) {
            continue;
        }
        let stage = &dockerfile.stages[number];
        let step = step(dockerfile, number, platform, global)?;
        if let Base::Stage(base) = step.base {
            open.push(base);
        }
        for instruction in &stage.instructions {
            refuse(dockerfile, instruction)?;
            match copy_source(dockerfile, number, instruction)? {
                Some(From::Stage(from)) => open.push(from),
                Some(From::Image(name)) => {
                    copied_images.insert((name, platform.clone()));
                }
                None => {}
            }
        }
        steps.push(step);
    }
    // Stages refer only to earlier ones, so their own order is a valid build order.
    steps.sort_by_key(|step| step.stage);
    Ok(Plan {
        steps,
        copied_images,
    })
}

fn stage_named(dockerfile: &Dockerfile<'_>, name: &str) -> Result<usize> {
    let stages = dockerfile.stages.len();
    let number = name.parse::<usize>().ok().filter(|number| *number < stages);
    dockerfile.named(name, stages).or(number).ok_or_else(|| {
        let names: Vec<&str> = dockerfile
            .stages
            .iter()
            .filter_map(|stage| stage.name.as_deref())
            .collect();
        let hint = match names.as_slice() {
            [] => "no stage has a name; give one with FROM … AS name".to_owned(),
            names => format!("its stages are {}", names.join(", ")),
        };
        let last = dockerfile.stages[stages - 1].from;
        dockerfile
            .source
            .error_with_hint(
                last,
                format!("no stage is named \"{name}\", which is the target"),
                hint,
            )
            .into()
    })
}

fn step(
    dockerfile: &Dockerfile<'_>,
    number: usize,
    request_platform: &Platform,
    global: &Scope,
) -> Result<Step> {
    let stage = &dockerfile.stages[number];
    let source = dockerfile.source;
    let image = global.expand_at(&stage.image, dockerfile.escape, source, stage.from)?;
    if image.is_empty() {
        return Err(source
            .error_with_hint(
                stage.from,
                format!("{} is empty, so there is no image to build on", stage.image),
                "give the ARG before FROM a default, or pass it as a build argument",
            )
            .into());
    }
    let platform = match &stage.platform {
        None => request_platform.clone(),
        Some(text) => {
            let text = global.expand_at(text, dockerfile.escape, source, stage.from)?;
            let platform: Platform = text
                .parse()
                .map_err(|error: PlatformError| source.error(stage.from, error.to_string()))?;
            if platform.os != "linux" {
                return Err(source
                    .error_with_hint(
                        stage.from,
                        format!("\"{platform}\" cannot run: instances run Linux"),
                        format!("write --platform=linux/{}", platform.arch),
                    )
                    .into());
            }
            platform
        }
    };
    let base = match dockerfile.named(&image, number) {
        Some(stage) => Base::Stage(stage),
        None if image == "scratch" => Base::Scratch,
        None => Base::Image(image),
    };
    Ok(Step {
        stage: number,
        // `scratch` has no platform.
        platform: if base == Base::Scratch {
            request_platform.clone()
        } else {
            platform
        },
        base,
    })
}

/// The `--from` of an instruction, if it is a `COPY` with one.
pub(super) fn copy_source(
    dockerfile: &Dockerfile<'_>,
    number: usize,
    instruction: &Instruction,
) -> Result<Option<From>> {
    let Kind::Copy(_) = instruction.kind else {
        return Ok(None);
    };
    let Some(value) = instruction
        .flags
        .iter()
        .find(|flag| flag.name == "from")
        .and_then(|flag| flag.value.as_deref())
    else {
        return Ok(None);
    };
    let refused = |problem: String, hint: &str| {
        dockerfile
            .source
            .error_with_hint(instruction.line, problem, hint)
            .into()
    };
    if value.contains('$') {
        return Err(refused(
            "--from takes no variables".to_owned(),
            "name a stage with FROM ${…} AS name, and copy from that",
        ));
    }
    if let Some(stage) = dockerfile.named(value, number) {
        return Ok(Some(From::Stage(stage)));
    }
    if let Some(own_or_later) = dockerfile.named(value, dockerfile.stages.len()) {
        return Err(refused(
            if own_or_later == number {
                format!("the stage \"{value}\" cannot copy from itself")
            } else {
                format!(
                    "the stage \"{value}\" comes later, and a stage can copy from earlier ones only"
                )
            },
            "put the stage that is copied from first; to copy from an image of that name, write its tag too, such as \
             name:latest",
        ));
    }
    match value.parse::<usize>() {
        Ok(stage) if stage < number => Ok(Some(From::Stage(stage))),
        Ok(_) => Err(dockerfile
            .source
            .error(
                instruction.line,
                format!("there is no earlier stage with the number {value}"),
            )
            .into()),
        // The same as without the flag.
        Err(_) if value.is_empty() => Ok(None),
        Err(_) => Ok(Some(From::Image(value.to_owned()))),
    }
}

/// Refuses instructions that need an engine, before anything else is done.
fn refuse(dockerfile: &Dockerfile<'_>, instruction: &Instruction) -> Result<()> {
    let refused = |problem: &str, hint: &str| -> Error {
        dockerfile
            .source
            .error_with_hint(instruction.line, problem, hint)
            .into()
    };
    match &instruction.kind {
        Kind::Run => Err(refused(
            "RUN needs a container engine, and none is used: the daemonless builder executes nothing",
            "install and start Docker (Debian: apt-get install docker.io) or Podman (apt-get install podman, then \
             systemctl --user start podman.socket), or build the program before the image and COPY it",
        )),
        Kind::Onbuild => Err(refused(
            "ONBUILD needs a container engine: the daemonless builder leaves nothing for later builds",
            "put the instruction into the Dockerfiles that build upon this image",
        )),
        _ => Ok(()),
    }
}
