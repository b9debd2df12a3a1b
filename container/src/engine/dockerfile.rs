//! Reads a Dockerfile before a build, for its base images, and after a failure, for the line of the
//! failed step.

use std::collections::{BTreeMap, BTreeSet};

use parse_dockerfile::{Dockerfile, Flag, FromInstruction, Instruction, Stage};

use super::progress::{InstructionPosition, Step};
use crate::{BuildRequest, Platform};

/// An image that a build pulls from a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Base {
    /// The image in the Dockerfile, its variables replaced.
    pub(super) reference: String,
    /// Its platform.
    pub(super) platform: String,
}

impl Base {
    /// The registry's host, by the rules of docker's client.
    pub(super) fn registry(&self) -> &str {
        match self.reference.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
            _ => "docker.io",
        }
    }

    /// The reference with a tag: without one, an engine pulls every tag.
    pub(super) fn tagged(&self) -> String {
        let name = self.reference.rsplit('/').next().unwrap_or_default();
        if name.contains([':', '@']) {
            self.reference.clone()
        } else {
            format!("{}:latest", self.reference)
        }
    }
}

/// The images that the stages up to the target use as base or copy from.
///
/// Unreadable parts are left to the engine, which has the better error: then the list is shorter.
pub(super) fn bases(text: &str, request: &BuildRequest, engine: &Platform) -> Vec<Base> {
    let Ok(file) = parse_dockerfile::parse(text) else {
        return Vec::new();
    };
    let variables = global_variables(&file, request, engine);
    let target = request.platform.to_string();
    let mut found = BTreeSet::new();
    if let Some(syntax) = &file.parser_directives.syntax {
        found.insert(Base {
            reference: syntax.value.value.to_owned(),
            platform: engine.to_string(),
        });
    }

    let stages: Vec<Stage<'_, '_>> = file.stages().collect();
    let mut todo: Vec<usize> = target_stage(&stages, request).into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(index) = todo.pop() {
        if !seen.insert(index) {
            continue;
        }
        let stage = &stages[index];
        let platform = stage_platform(stage.from, &variables).unwrap_or_else(|| target.clone());
        let from = expand(&stage.from.image.value, &variables);
        let copied: Vec<String> = sources(stage);
        for (name, is_copied) in from
            .into_iter()
            .map(|name| (name, false))
            .chain(copied.into_iter().map(|name| (name, true)))
        {
            match named(&stages, &name, index) {
                Some(other) => todo.push(other),
                None if name.is_empty() || name.eq_ignore_ascii_case("scratch") => {}
                // The stage itself, a later one, or a missing one: the engine has the better error.
                None if is_copied && names_a_stage(&stages, &name) => {}
                None => {
                    found.insert(Base {
                        reference: name,
                        platform: platform.clone(),
                    });
                }
            }
        }
    }
    found.into_iter().collect()
}

/// The line of the target's `FROM`, counted from 1, if it is certain that its image has neither
/// `ENTRYPOINT` nor `CMD`: no stage from there down to `scratch` has one.
pub(super) fn without_command(
    text: &str,
    request: &BuildRequest,
    engine: &Platform,
) -> Option<usize> {
    let file = parse_dockerfile::parse(text).ok()?;
    if file.parser_directives.syntax.is_some() {
        // A `syntax` frontend may have its own instructions.
        return None;
    }
    let variables = global_variables(&file, request, engine);
    let stages: Vec<Stage<'_, '_>> = file.stages().collect();
    let target = target_stage(&stages, request)?;
    let mut index = target;
    loop {
        let stage = &stages[index];
        // An ONBUILD may add a command to the derived stage.
        let may_have_one = |instruction: &Instruction<'_>| {
            matches!(
                instruction,
                Instruction::Entrypoint(_) | Instruction::Cmd(_) | Instruction::Onbuild(_)
            )
        };
        if stage.instructions.iter().any(may_have_one) {
            return None;
        }
        let from = expand(&stage.from.image.value, &variables)?;
        match named(&stages, &from, index) {
            // Engines accept only names here, no numbers.
            Some(_) if from.parse::<usize>().is_ok() => return None,
            Some(below) => index = below,
            None if from.eq_ignore_ascii_case("scratch") => break,
            None => return None,
        }
    }
    let start = stages[target].from.from.span.start;
    let newlines = text.bytes().take(start).filter(|byte| *byte == b'\n');
    Some(newlines.count() + 1)
}

/// The variables that a `FROM` can use.
fn global_variables(
    file: &Dockerfile<'_>,
    request: &BuildRequest,
    engine: &Platform,
) -> BTreeMap<String, String> {
    let mut variables = platform_variables(&request.platform, engine);
    let defaults = file.global_args().map(|arg| &arg.arguments.value);
    for word in defaults.flat_map(|words| words.split_whitespace()) {
        let (name, default) = word.split_once('=').unwrap_or((word, ""));
        let default = expand(default.trim_matches(['"', '\'']), &variables);
        if let Some(value) = request.args.get(name).cloned().or(default) {
            variables.insert(name.to_owned(), value);
        }
    }
    variables
}

/// The number of the stage with this name, from the point of view of stage number `before`. A name
/// is valid in later stages; a later stage with the same name overrides it.
fn named(stages: &[Stage<'_, '_>], name: &str, before: usize) -> Option<usize> {
    let by_name = (0..before).rev().find(|index| {
        let stage = stages[*index].from.as_.as_ref();
        stage.is_some_and(|(_, stage)| stage.value.eq_ignore_ascii_case(name))
    });
    by_name.or_else(|| name.parse().ok().filter(|index| *index < before))
}

/// Whether a copy from `name` can only refer to a stage: it is a number, empty, or a stage's name.
fn names_a_stage(stages: &[Stage<'_, '_>], name: &str) -> bool {
    name.parse::<usize>().is_ok() || name.is_empty() || named(stages, name, stages.len()).is_some()
}

/// The number of the target stage.
fn target_stage(stages: &[Stage<'_, '_>], request: &BuildRequest) -> Option<usize> {
    match &request.target {
        Some(target) => named(stages, target, stages.len()),
        None => stages.len().checked_sub(1),
    }
}

/// `--platform` of a `FROM`.
fn stage_platform(
    from: &FromInstruction<'_>,
    variables: &BTreeMap<String, String>,
) -> Option<String> {
    expand(&flag(&from.options, "platform")?, variables)
}

/// The sources of a stage: `COPY --from=…`, and `from=…` of `RUN --mount=…`.
fn sources(stage: &Stage<'_, '_>) -> Vec<String> {
    stage
        .instructions
        .iter()
        .filter_map(|instruction| match instruction {
            Instruction::Copy(copy) => flag(&copy.options, "from"),
            Instruction::Run(run) => flag(&run.options, "mount")?
                .split(',')
                .find_map(|part| part.strip_prefix("from=").map(str::to_owned)),
            _ => None,
        })
        // Engines do not replace variables here either.
        .filter(|name| !name.contains('$'))
        .collect()
}

fn flag(flags: &[Flag<'_>], name: &str) -> Option<String> {
    let flag = flags.iter().find(|flag| flag.name.value == name)?;
    let value = flag.value.as_ref()?;
    Some(value.value.trim_matches(['"', '\'']).to_owned())
}

/// The variables that BuildKit defines before the first stage.
fn platform_variables(target: &Platform, build: &Platform) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (kind, platform) in [("TARGET", target), ("BUILD", build)] {
        for (part, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("ARCH", platform.arch.clone()),
            ("VARIANT", platform.variant.clone().unwrap_or_default()),
        ] {
            variables.insert(format!("{kind}{part}"), value);
        }
    }
    variables
}

/// The maximum length in bytes of a text with variables: no name of an image or platform is longer.
const MAX_EXPANDED: usize = 4096;

/// Replaces `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}`; `None` for any other form.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if result.len() > MAX_EXPANDED {
            return None;
        }
        result.push_str(before);
        let word = |text: &str| {
            text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(text.len())
        };
        let value = |name: &str| {
            variables
                .get(name)
                .filter(|value| !value.is_empty())
                .cloned()
        };
        if let Some(braced) = after.strip_prefix('{') {
            let (inside, behind) = braced.split_once('}')?;
            let (name, operator) = inside.split_at(word(inside));
            result.push_str(&match (operator.get(..2), value(name)) {
                (None, value) if operator.is_empty() => value.unwrap_or_default(),
                (Some(":-"), Some(value)) => value,
                (Some(":-"), None) => expand(&operator[2..], variables)?,
                (Some(":+"), Some(_)) => expand(&operator[2..], variables)?,
                (Some(":+"), None) => String::new(),
                _ => return None,
            });
            rest = behind;
        } else {
            let (name, behind) = after.split_at(word(after));
            result.push_str(&value(name).unwrap_or_default());
            rest = behind;
        }
    }
    result.push_str(rest);
    Some(result)
}

/// The line, counted from 1, of the instruction of `step`; `None` if it is ambiguous.
pub(super) fn line_of(text: &str, step: &Step) -> Option<usize> {
    let file = parse_dockerfile::parse(text).ok()?;
    let instruction = match &step.place {
        InstructionPosition::Nth(nth) => file.instructions.get(nth.checked_sub(1)?)?,
        InstructionPosition::InStage(stage, nth) => in_stage(&file, stage.as_deref(), *nth)?,
        InstructionPosition::ByText => {
            let mut matching = file
                .instructions
                .iter()
                .filter(|instruction| shown(text, instruction) == step.text);
            let first = matching.next()?;
            if matching.next().is_some() {
                return None;
            }
            first
        }
    };
    let keyword = step.text.split_whitespace().next()?;
    let span = span(instruction)?;
    // The count differs from the expected one: no line is better than a wrong one.
    if !text.get(span.clone())?.eq_ignore_ascii_case(keyword) {
        return None;
    }
    Some(text[..span.start].matches('\n').count() + 1)
}

/// BuildKit's count: a base image (except `scratch`), and the instructions that create layers.
fn in_stage<'a, 'b>(
    file: &'b Dockerfile<'a>,
    name: Option<&str>,
    nth: usize,
) -> Option<&'b Instruction<'a>> {
    let mut stages = file.stages().enumerate();
    let stage = match name {
        None => stages.next(),
        Some(name) => stages.find(|(index, stage)| {
            let own = stage.from.as_.as_ref().map(|(_, name)| &name.value);
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
                || name == format!("stage-{index}")
        }),
    }?
    .1;
    let base = usize::from(!stage.from.image.value.eq_ignore_ascii_case("scratch"));
    stage
        .instructions
        .iter()
        .filter(|instruction| {
            matches!(
                instruction,
                Instruction::Run(_)
                    | Instruction::Copy(_)
                    | Instruction::Add(_)
                    | Instruction::Workdir(_)
            )
        })
        .nth(nth.checked_sub(base + 1)?)
}

/// An instruction in one line, without continuation marks and comments, as engines show it.
fn shown(text: &str, instruction: &Instruction<'_>) -> String {
    let Some(span) = span(instruction) else {
        return String::new();
    };
    let mut words = Vec::new();
    for line in text[span.start..].lines() {
        if !words.is_empty() && line.trim_start().starts_with('#') {
            continue;
        }
        let line = line.trim_end();
        let continued = line.strip_suffix('\\');
        words.extend(continued.unwrap_or(line).split_whitespace());
        if continued.is_none() {
            break;
        }
    }
    words.join(" ")
}

/// The position of an instruction's keyword.
fn span(instruction: &Instruction<'_>) -> Option<std::ops::Range<usize>> {
    let keyword = match instruction {
        Instruction::Add(it) => &it.add,
        Instruction::Arg(it) => &it.arg,
        Instruction::Cmd(it) => &it.cmd,
        Instruction::Copy(it) => &it.copy,
        Instruction::Entrypoint(it) => &it.entrypoint,
        Instruction::Env(it) => &it.env,
        Instruction::Expose(it) => &it.expose,
        Instruction::From(it) => &it.from,
        Instruction::Healthcheck(it) => &it.healthcheck,
        Instruction::Label(it) => &it.label,
        Instruction::Maintainer(it) => &it.maintainer,
        Instruction::Onbuild(it) => &it.onbuild,
        Instruction::Run(it) => &it.run,
        Instruction::Shell(it) => &it.shell,
        Instruction::Stopsignal(it) => &it.stopsignal,
        Instruction::User(it) => &it.user,
        Instruction::Volume(it) => &it.volume,
        Instruction::Workdir(it) => &it.workdir,
        _ => return None,
    };
    Some(keyword.span.clone())
}

#[cfg(test)]
#[path = "dockerfile_tests.rs"]
mod tests;
