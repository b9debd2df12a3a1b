//! What of a Dockerfile has to be built, found out before anything is fetched.

use std::collections::BTreeSet;

use parse_dockerfile::{Flag, Instruction};

use super::args::Scope;
use super::dockerfile::{Dockerfile, span};
use crate::request::Platform;
use crate::{Error, Result};

/// The stages to build, in order; the last one is the image.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Images that are copied from, with their platform.
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

/// What a stage is built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Scratch,
    Stage(usize),
    /// An image by name, expanded.
    Image(String),
}

/// Where a `COPY --from` copies from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    Stage(usize),
    Image(String),
}

/// Decides what to build of `dockerfile`.
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
    // Stages only know earlier ones, so their own order is one to build them in.
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
        let last = &dockerfile.stages[stages - 1].from;
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
    platform: &Platform,
    global: &Scope,
) -> Result<Step> {
    let stage = &dockerfile.stages[number];
    let source = dockerfile.source;
    let image = global.expand_at(&stage.image, dockerfile.escape, source, &stage.from)?;
    if image.is_empty() {
        return Err(source
            .error_with_hint(
                &stage.from,
                format!("{} is empty, so there is no image to build on", stage.image),
                "give the ARG before FROM a default, or pass it as a build argument",
            )
            .into());
    }
    let platform = match &stage.platform {
        None => platform.clone(),
        Some(text) => {
            let text = global.expand_at(text, dockerfile.escape, source, &stage.from)?;
            text.parse()
                .map_err(|error: crate::request::PlatformError| {
                    source.error(&stage.from, error.to_string())
                })?
        }
    };
    let base = match dockerfile.named(&image, number) {
        Some(stage) => Base::Stage(stage),
        None if image == "scratch" => Base::Scratch,
        None => Base::Image(image),
    };
    Ok(Step {
        stage: number,
        base,
        platform,
    })
}

/// The `--from` of a `COPY`, if the instruction is one and has one.
pub(super) fn copy_source(
    dockerfile: &Dockerfile<'_>,
    number: usize,
    instruction: &Instruction<'_>,
) -> Result<Option<From>> {
    let Instruction::Copy(copy) = instruction else {
        return Ok(None);
    };
    let is_from = |flag: &&Flag<'_>| flag.name.value == "from";
    let Some(value) = copy
        .options
        .iter()
        .find(is_from)
        .and_then(|flag| flag.value.as_ref())
    else {
        return Ok(None);
    };
    let value = &*value.value;
    let source = dockerfile.source;
    if value.contains('$') {
        return Err(source
            .error_with_hint(
                &copy.copy.span,
                "--from takes no variables",
                "name a stage with FROM ${…} AS name, and copy from that",
            )
            .into());
    }
    if let Some(stage) = dockerfile.named(value, number) {
        return Ok(Some(From::Stage(stage)));
    }
    match value.parse::<usize>() {
        Ok(stage) if stage < number => Ok(Some(From::Stage(stage))),
        Ok(_) => Err(source
            .error(
                &copy.copy.span,
                format!("there is no earlier stage with the number {value}"),
            )
            .into()),
        Err(_) if value.is_empty() => {
            Err(source.error(&copy.copy.span, "--from names nothing").into())
        }
        Err(_) => Ok(Some(From::Image(value.to_owned()))),
    }
}

/// Refuses what cannot be done without an engine, before anything else is done.
fn refuse(dockerfile: &Dockerfile<'_>, instruction: &Instruction<'_>) -> Result<()> {
    let refused = |problem: &str, hint: &str| -> Error {
        dockerfile
            .source
            .error_with_hint(&span(instruction), problem, hint)
            .into()
    };
    match instruction {
        Instruction::Run(_) => Err(refused(
            "RUN needs a container engine, and none is used: the daemonless builder executes nothing",
            "install and start Docker (Debian: apt-get install docker.io) or Podman (apt-get install podman, then \
             systemctl --user start podman.socket), or build the program before the image and COPY it",
        )),
        Instruction::Onbuild(_) => Err(refused(
            "ONBUILD needs a container engine: the daemonless builder leaves nothing for later builds",
            "put the instruction into the Dockerfiles that build upon this image",
        )),
        _ => Ok(()),
    }
}
