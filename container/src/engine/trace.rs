//! BuildKit's progress reports: the used fields of `moby.buildkit.v1.StatusResponse`.
//!
//! Field numbers are those of `api/services/control/control.proto` in moby/buildkit; other fields
//! are skipped when decoding.

use prost::Message;

/// One report: the changes since the previous one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusResponse {
    /// New or changed steps.
    #[prost(message, repeated, tag = "1")]
    pub(super) vertexes: Vec<Vertex>,
    /// Output of steps.
    #[prost(message, repeated, tag = "3")]
    pub(super) logs: Vec<VertexLog>,
    /// The frontend's warnings about the Dockerfile.
    #[prost(message, repeated, tag = "4")]
    pub(super) warnings: Vec<VertexWarning>,
}

/// A step.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Vertex {
    /// Its identity in this build.
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    /// Its display name: `[build 2/3] RUN make`.
    #[prost(string, tag = "3")]
    pub(super) name: String,
    /// Whether it was cached.
    #[prost(bool, tag = "4")]
    pub(super) cached: bool,
    /// Set once it started.
    #[prost(message, optional, tag = "5")]
    pub(super) started: Option<Moment>,
    /// Set once it ended.
    #[prost(message, optional, tag = "6")]
    pub(super) completed: Option<Moment>,
    /// The reason of its failure; empty if it did not fail.
    #[prost(string, tag = "7")]
    pub(super) error: String,
}

/// A part of a step's output: any number of lines, or a part of one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexLog {
    /// [`Vertex::digest`].
    #[prost(string, tag = "1")]
    pub(super) vertex: String,
    /// The bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) msg: Vec<u8>,
}

/// A warning about the Dockerfile.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexWarning {
    /// The warning in one line.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) short: Vec<u8>,
}

/// A point in time; only its presence matters here.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Moment {}
