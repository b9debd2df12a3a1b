//! An engine's messages during a build: lines for the user, and the failed step with its output.
//!
//! Docker's classic builder and Podman send text with announcement lines for the steps; BuildKit
//! sends a graph of steps with separate logs. Both are converted to the same [`Outcome`].

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use prost::Message as _;
use serde::Deserialize;

use super::trace::{StatusResponse, Vertex};
use crate::builder::Output;

/// The number of a failed step's last lines in the error.
const TAIL: usize = 30;

/// A message of the engine, as `POST /build` and `POST /images/create` stream them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    id: Option<String>,
    stream: Option<String>,
    status: Option<String>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    aux: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    message: Option<String>,
}

impl Message {
    /// The engine's failure message, if this is one.
    pub(super) fn failure(&self) -> Option<&str> {
        let detail = self
            .error_detail
            .as_ref()
            .and_then(|detail| detail.message.as_deref());
        detail.or(self.error.as_deref()).map(str::trim)
    }
}

/// The result of a build.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An image with this id.
    Image(String),
    /// The engine reported a failure.
    Failed {
        /// The step, if reported.
        step: Option<Step>,
        /// Its message.
        message: String,
        /// The step's own last lines.
        output: Vec<String>,
    },
    /// The messages ended without a result.
    Unfinished,
}

/// A step of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The instruction, in one line.
    pub(super) text: String,
    /// Its instruction in the Dockerfile.
    pub(super) place: InstructionPosition,
}

/// An engine's position of an instruction. All counts start at 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InstructionPosition {
    /// The classic builder: counts all instructions of the file.
    Nth(usize),
    /// BuildKit: counts a stage's instructions that create layers; the stage is named if there is
    /// more than one.
    InStage(Option<String>, usize),
    /// Podman: only the text identifies it.
    ByText,
}

/// The state of a build's messages.
pub(super) struct Progress<'a> {
    output: &'a Output<'a>,
    image: Option<String>,
    failure: Option<String>,
    text: Text,
    graph: Graph,
}

impl<'a> Progress<'a> {
    pub(super) fn new(output: &'a Output<'a>) -> Self {
        Self {
            output,
            image: None,
            failure: None,
            text: Text::default(),
            graph: Graph::default(),
        }
    }

    /// Processes the next message.
    pub(super) fn take(&mut self, message: &Message) {
        if let Some(failure) = message.failure() {
            self.failure.get_or_insert_with(|| failure.to_owned());
        }
        if let Some(stream) = &message.stream {
            self.text.take(stream.as_bytes(), self.output);
        }
        if let (Some(status), None) = (&message.status, &message.stream) {
            // The classic builder during a pull; a layer's progress arrives many times a second and
            // has an id.
            if message.id.is_none() {
                (self.output)(status.trim_end());
            }
        }
        match (&message.id, &message.aux) {
            (Some(id), Some(serde_json::Value::String(report))) if id == "moby.buildkit.trace" => {
                let report = base64::engine::general_purpose::STANDARD
                    .decode(report)
                    .ok()
                    .and_then(|bytes| StatusResponse::decode(bytes.as_slice()).ok());
                // A report in an unknown form loses its lines, but does not fail the build.
                if let Some(report) = report {
                    self.graph.take(report, self.output);
                }
            }
            // The last one: every stage of a classic build creates an image.
            (_, Some(aux)) => {
                if let Some(id) = aux.get("ID").and_then(serde_json::Value::as_str) {
                    self.image = Some(id.to_owned());
                }
            }
            _ => {}
        }
    }

    /// Emits the last incomplete line, and returns the result.
    pub(super) fn finish(mut self) -> Outcome {
        self.text.finish(self.output);
        self.graph.finish(self.output);
        let Some(message) = self.failure else {
            return self.image.map_or(Outcome::Unfinished, Outcome::Image);
        };
        let (step, output) = match self.graph.failed() {
            Some((step, output)) => (Some(step), output),
            None => (self.text.step, self.text.tail.into_lines()),
        };
        Outcome::Failed {
            step,
            message,
            output,
        }
    }
}

/// The text output of the classic builder and of Podman.
#[derive(Default)]
struct Text {
    lines: Lines,
    step: Option<Step>,
    tail: Tail,
}

impl Text {
    fn take(&mut self, bytes: &[u8], output: &Output<'_>) {
        for line in self.lines.push(bytes) {
            self.line(line, output);
        }
    }

    fn finish(&mut self, output: &Output<'_>) {
        if let Some(line) = self.lines.rest() {
            self.line(line, output);
        }
    }

    fn line(&mut self, line: String, output: &Output<'_>) {
        if is_bookkeeping(&line) {
            return;
        }
        output(&line);
        match announced(&line) {
            Some(step) => {
                self.step = Some(step);
                self.tail = Tail::default();
            }
            None => self.tail.push(line),
        }
    }
}

/// The step in an announcement line: `Step 2/4 : RUN make` or `[1/2] STEP 2/4: RUN make`.
fn announced(line: &str) -> Option<Step> {
    let counted = |rest: &str, colon: &str| {
        let (count, text) = rest.split_once(colon)?;
        let (nth, of) = count.split_once('/')?;
        of.parse::<usize>().ok()?;
        Some((nth.parse::<usize>().ok()?, one_line(text)))
    };
    if let Some(rest) = line.strip_prefix("Step ") {
        let (nth, text) = counted(rest, " : ")?;
        return Some(Step {
            text,
            place: InstructionPosition::Nth(nth),
        });
    }
    let rest = match line.strip_prefix('[') {
        Some(rest) => rest.split_once("] ")?.1,
        None => line,
    };
    let (_, text) = counted(rest.strip_prefix("STEP ")?, ": ")?;
    Some(Step {
        text,
        place: InstructionPosition::ByText,
    })
}

/// Whether a line is only about intermediate containers and images, or about the temporary tag.
fn is_bookkeeping(line: &str) -> bool {
    let is_id = |text: &str| text.len() >= 11 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if line.trim().is_empty() || is_id(line) {
        return true;
    }
    if let Some(rest) = line
        .strip_prefix(" ---> ")
        .or_else(|| line.strip_prefix("--> "))
    {
        let id = rest
            .strip_prefix("Running in ")
            .or_else(|| rest.strip_prefix("Using cache "))
            .or_else(|| rest.strip_prefix("Removed intermediate container "))
            .unwrap_or(rest);
        return id.is_empty() || id == "Using cache" || is_id(id);
    }
    [
        "Removing intermediate container ",
        "Successfully built ",
        "Successfully tagged ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

/// The steps of a BuildKit build, by their digest.
#[derive(Default)]
struct Graph {
    steps: BTreeMap<String, GraphStep>,
    /// The first step that failed by itself.
    failed: Option<String>,
}

#[derive(Default)]
struct GraphStep {
    name: String,
    shown: bool,
    lines: Lines,
    tail: Tail,
}

impl Graph {
    fn take(&mut self, report: StatusResponse, output: &Output<'_>) {
        for vertex in report.vertexes {
            self.vertex(vertex, output);
        }
        for warning in report.warnings {
            output(&format!(
                "warning: {}",
                String::from_utf8_lossy(&warning.short).trim()
            ));
        }
        for log in report.logs {
            let step = self.steps.entry(log.vertex).or_default();
            for line in step.lines.push(&log.msg) {
                step.line(line, output);
            }
        }
    }

    fn vertex(&mut self, vertex: Vertex, output: &Output<'_>) {
        let step = self.steps.entry(vertex.digest.clone()).or_default();
        step.name = one_line(&vertex.name);
        let internal = step.name.starts_with("[internal]") || step.name == "copy /context /";
        if vertex.started.is_some() && !step.shown && !internal {
            step.shown = true;
            let cached = if vertex.cached { " (cached)" } else { "" };
            output(&format!("{}{cached}", step.name));
        }
        if vertex.completed.is_some()
            && let Some(line) = step.lines.rest()
        {
            step.line(line, output);
        }
        // A step that was stopped because another one failed reports "context canceled".
        if !vertex.error.is_empty() && !vertex.error.contains("context canceled") {
            self.failed.get_or_insert(vertex.digest);
        }
    }

    fn finish(&mut self, output: &Output<'_>) {
        for step in self.steps.values_mut() {
            if let Some(line) = step.lines.rest() {
                step.line(line, output);
            }
        }
    }

    fn failed(self) -> Option<(Step, Vec<String>)> {
        let Self { mut steps, failed } = self;
        let step = steps.remove(&failed?)?;
        let (label, text) = split_label(&step.name);
        // Steps that are not instructions, such as loading the context, are identified by the
        // message alone.
        let place = label.and_then(place_of_label)?;
        let text = text.to_owned();
        Some((Step { text, place }, step.tail.into_lines()))
    }
}

impl GraphStep {
    /// A line with the label of its step: steps run concurrently.
    fn line(&mut self, line: String, output: &Output<'_>) {
        match split_label(&self.name).0 {
            Some(label) => output(&format!("[{label}] {line}")),
            None => output(&line),
        }
        self.tail.push(line);
    }
}

/// Splits `[build 2/3] RUN make` into its label and its text.
fn split_label(name: &str) -> (Option<&str>, &str) {
    match name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((label, text)) => (Some(label), text),
        None => (None, name),
    }
}

/// Parses `build 2/3`, `stage-1 2/3`, `linux/amd64 build 2/3` or `2/3`.
fn place_of_label(label: &str) -> Option<InstructionPosition> {
    let mut words = label.split_whitespace().rev();
    let (nth, of) = words.next()?.split_once('/')?;
    of.parse::<usize>().ok()?;
    let stage = words.next().filter(|word| !word.contains('/'));
    Some(InstructionPosition::InStage(
        stage.map(str::to_owned),
        nth.parse().ok()?,
    ))
}

/// A text without line breaks and long runs of spaces, at most 200 characters of it.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// Assembles lines from chunks.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// The lines that `bytes` completes.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let Some(end) = self.0.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let whole: Vec<u8> = self.0.drain(..=end).collect();
        whole[..end]
            .split(|byte| *byte == b'\n')
            .map(readable)
            .collect()
    }

    /// The rest without a line break.
    fn rest(&mut self) -> Option<String> {
        let rest = readable(&std::mem::take(&mut self.0));
        (!rest.is_empty()).then_some(rest)
    }
}

/// A line as a terminal finally shows it: the text after the last carriage return, without the
/// colour that the classic builder gives to standard error.
fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text
        .trim_end_matches('\r')
        .replace("\u{1b}[91m", "")
        .replace("\u{1b}[0m", "");
    text.rsplit('\r').next().unwrap_or_default().to_owned()
}

/// The last lines of a step.
#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: String) {
        if self.0.len() == TAIL {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    fn into_lines(self) -> Vec<String> {
        self.0.into()
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
