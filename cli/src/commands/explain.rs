//! `explain`: explains whether a connection is allowed, and which rule blocks it.

use std::net::Ipv4Addr;

use landfall_network::reach::Topology;
use landfall_pipeline::{
    Config, Explanation, Overview, Query, QueryError, live_topology, overview, planned_topology,
};
use landfall_provider::StackName;
use serde::Serialize;

use super::{Session, config};
use crate::args::{Explain, ProviderName};
use crate::cli_error::CliError;
use crate::{exit, output, render};

/// The last line of JSON of an explanation.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    /// Whether it describes the live network, or the file's.
    live: bool,
    explanation: &'a Explanation,
    /// A difference between the rules and this provider's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// The local provider forwards no packets to the real internet.
const SIMULATED_INTERNET: &str = "this is about the rules: the internet of the local provider is simulated, and beside \
                                  what stacks publish only 203.0.113.250:80 answers there; packets to any other \
                                  address or port get no connection";

/// A note about a connection that the rules allow and this machine does not support.
fn note(args: &Explain, query: &Query, explanation: &Explanation) -> Option<&'static str> {
    let is_outside = |address: Ipv4Addr| !address.is_private();
    let to_outside = query.to == "internet" || query.to.parse().is_ok_and(is_outside);
    let answers = query.to == "203.0.113.250" && explanation.port.get() == 80;
    let is_local = matches!(args.common.provider, ProviderName::Local);
    (is_local && to_outside && explanation.reachable && !answers).then_some(SIMULATED_INTERNET)
}

/// The last line of JSON of the reachability matrix.
#[derive(Serialize)]
struct AllLine<'a> {
    result: &'static str,
    stack: &'a StackName,
    live: bool,
    overview: &'a Overview,
}

/// Explains, and returns the exit code: the answer.
pub(crate) async fn explain(args: &Explain) -> Result<u8, CliError> {
    let config = config(&args.common)?;
    // Invalid queries are reported before any provider is asked.
    let query = match (&args.from, &args.to) {
        (Some(from), Some(to)) => Some(Query::new(from, to).map_err(unanswerable)?),
        _ => None,
    };
    let topology = topology(args, &config).await?;
    match query {
        Some(query) => one(args, &config, &topology, &query),
        None => all(args, &config, &topology),
    }
}

fn one(
    args: &Explain,
    config: &Config,
    topology: &Topology,
    query: &Query,
) -> Result<u8, CliError> {
    let explanation = landfall_pipeline::explain(config, topology, query).map_err(unanswerable)?;
    draw(args, || {
        render::path::picture(&explanation, config.stack.as_str())
    })?;
    let note = note(args, query, &explanation);
    if args.common.json {
        output::json_line(&Line {
            result: "explain",
            stack: &config.stack,
            live: args.live,
            explanation: &explanation,
            note,
        });
    } else {
        output::result(&render::reach::explanation(&explanation));
        if let Some(note) = note {
            output::result(&format!("note: {note}\n"));
        }
    }
    Ok(match explanation.reachable {
        true => exit::DONE,
        false => exit::FAILED,
    })
}

fn all(args: &Explain, config: &Config, topology: &Topology) -> Result<u8, CliError> {
    let overview = overview(topology);
    draw(args, || {
        render::matrix::picture(&overview, config.stack.as_str())
    })?;
    if args.common.json {
        output::json_line(&AllLine {
            result: "explain-all",
            stack: &config.stack,
            live: args.live,
            overview: &overview,
        });
    } else {
        output::result(&render::matrix::table(&overview));
    }
    Ok(exit::DONE)
}

/// Writes the picture, if requested.
fn draw(args: &Explain, picture: impl FnOnce() -> String) -> Result<(), CliError> {
    let Some(file) = &args.svg else {
        return Ok(());
    };
    std::fs::write(file, picture()).map_err(|error| {
        let message = format!("cannot write the picture to {}: {error}", file.display());
        CliError::usage(message, None)
    })
}

/// The requested network.
async fn topology(args: &Explain, config: &Config) -> Result<Topology, CliError> {
    if !args.live {
        let planned = planned_topology(config);
        return planned.map_err(|error| CliError::usage(error.to_string(), None));
    }
    let session = Session::open(&args.common, config.into()).await?;
    let looking = live_topology(session.place.cloud(), &config.stack);
    let live = session.look(looking).await?;
    session.progress.finish();
    live.ok_or_else(|| CliError::Missing {
        stack: config.stack.clone(),
    })
}

fn unanswerable(error: QueryError) -> CliError {
    CliError::Usage {
        hint: error.hint().map(str::to_owned),
        message: error.to_string(),
    }
}
