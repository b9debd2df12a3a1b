//! Checks a build without creating anything: runs every instruction on lists of names.
//!
//! The contents of a base image are unknown, because nothing is fetched. In a stage with a base
//! image, or with files copied from such a stage, only instructions that do not depend on those
//! contents are checked.

use std::collections::BTreeMap;

use super::dockerfile::{Dockerfile, Source};
use super::form::{Instruction, Kind, Source as CopySource};
use super::layer::Contents;
use super::plan::{self, Base, From};
use super::stage::{Image, Runner, Shared};
use super::tree::Tree;
use super::{copy, epoch, prepare, rfc3339};
use crate::Result;
use crate::context::Context;
use crate::request::BuildRequest;

/// The known state of a stage that starts from `scratch`: its configuration, and possibly its
/// files.
struct Known {
    image: Image,
    /// Whether the tree contains all files of the image.
    whole: bool,
}

/// Fails as the build of `source` would, where that is certain; also if the image has no command.
pub(super) fn check(source: &Source, request: &BuildRequest) -> Result<()> {
    let (dockerfile, plan, mut given, global) = prepare(source, request)?;
    let epoch = epoch(request)?;
    let context = Tree::of_context(&Context::open(request)?);
    let mut contents = Contents::new()?;
    let shared = Shared {
        dockerfile: &dockerfile,
        global: &global,
        ingest: None,
        context: &context,
        epoch,
        created: &rfc3339(epoch),
    };
    // Stages outside this map are unknown.
    let mut done: BTreeMap<usize, Known> = BTreeMap::new();
    for step in &plan.steps {
        let instructions = &dockerfile.stages[step.stage].instructions;
        let base = match &step.base {
            Base::Scratch => Some((Image::scratch(&step.platform), true)),
            Base::Stage(number) => done
                .get(number)
                .map(|known| (known.image.clone(), known.whole)),
            Base::Image(_) => None,
        };
        let Some((image, mut whole)) = base else {
            for instruction in instructions {
                check_sources(&dockerfile, instruction, &context)?;
            }
            continue;
        };
        let mut runner = Runner::new(&shared, &mut contents, &mut given, image);
        for instruction in instructions {
            let from = match plan::copy_source(&dockerfile, step.stage, instruction)? {
                None => None,
                Some(From::Stage(number)) => {
                    let from = done.get(&number).filter(|known| known.whole);
                    whole &= from.is_some();
                    from.map(|known| &known.image.tree)
                }
                Some(From::Image(_)) => {
                    whole = false;
                    None
                }
            };
            let touches_files = matches!(
                instruction.kind,
                Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_)
            );
            if whole || !touches_files {
                let text = source.line_text(instruction.line);
                runner.run(instruction, text, from)?;
            } else {
                check_sources(&dockerfile, instruction, &context)?;
            }
        }
        let image = runner.finish();
        done.insert(step.stage, Known { image, whole });
    }
    let Some(last) = plan.steps.last().map(|step| step.stage) else {
        return Ok(());
    };
    match done.get(&last) {
        Some(known) if known.image.config.command("").is_err() => {
            let from = dockerfile.stages[last].from;
            Err(source.no_command(from).into())
        }
        _ => Ok(()),
    }
}

/// Checks that the context contains the sources of an instruction, as far as its line shows them
/// without variables.
fn check_sources(
    dockerfile: &Dockerfile<'_>,
    instruction: &Instruction,
    context: &Tree,
) -> Result<()> {
    let (Kind::Copy(transfer) | Kind::Add(transfer)) = &instruction.kind else {
        return Ok(());
    };
    let elsewhere = |name: &str| ["from", "parents"].contains(&name);
    if instruction.flags.iter().any(|flag| elsewhere(&flag.name)) {
        return Ok(());
    }
    for source in &transfer.sources {
        if let CopySource::Path(path) = source
            && is_plain(path, dockerfile.escape)
        {
            copy::check_source(context, path)
                .map_err(|fault| fault.at(dockerfile.source, instruction.line))?;
        }
    }
    Ok(())
}

/// Whether a source is a plain path: nothing to expand, nothing to fetch.
fn is_plain(source: &str, escape: char) -> bool {
    !source.contains(['$', '"', '\'', escape])
        && !source.contains("://")
        && !source.starts_with("git@")
}
