//! `explain`: tell whether a connection comes about, and what stops it.

use landfall_network::reach::Topology;
use landfall_pipeline::{
    Config, Explanation, Overview, Query, QueryError, live_topology, overview, planned_topology,
};
use landfall_provider::StackName;
use serde::Serialize;

use super::{Session, config};
use crate::args::Explain;
use crate::problem::Problem;
use crate::{exit, output, render};

/// The last line of JSON of an explanation.
#[derive(Serialize)]
struct Line<'a> {
    result: &'static str,
    stack: &'a StackName,
    /// Whether it is about what there is, or about what the file describes.
    live: bool,
    explanation: &'a Explanation,
}

/// The last line of JSON of who can reach what.
#[derive(Serialize)]
struct AllLine<'a> {
    result: &'static str,
    stack: &'a StackName,
    live: bool,
    overview: &'a Overview,
}

/// Explains, and gives the exit code: the answer.
pub(crate) async fn explain(args: &Explain) -> Result<u8, Problem> {
    let config = config(&args.common)?;
    // What cannot be asked is told before anybody is asked.
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

fn one(args: &Explain, config: &Config, topology: &Topology, query: &Query) -> Result<u8, Problem> {
    let explanation = landfall_pipeline::explain(config, topology, query).map_err(unanswerable)?;
    draw(args, || {
        render::path::picture(&explanation, config.stack.as_str())
    })?;
    if args.common.json {
        output::json_line(&Line {
            result: "explain",
            stack: &config.stack,
            live: args.live,
            explanation: &explanation,
        });
    } else {
        output::result(&render::reach::explanation(&explanation));
    }
    Ok(match explanation.reachable {
        true => exit::DONE,
        false => exit::FAILED,
    })
}

fn all(args: &Explain, config: &Config, topology: &Topology) -> Result<u8, Problem> {
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

/// Writes the picture, where one is asked for.
fn draw(args: &Explain, picture: impl FnOnce() -> String) -> Result<(), Problem> {
    let Some(file) = &args.svg else {
        return Ok(());
    };
    std::fs::write(file, picture()).map_err(|error| {
        let message = format!(
            "the picture cannot be written to {}: {error}",
            file.display()
        );
        Problem::usage(message, None)
    })
}

/// The network that is asked about.
async fn topology(args: &Explain, config: &Config) -> Result<Topology, Problem> {
    if !args.live {
        let planned = planned_topology(config);
        return planned.map_err(|error| Problem::usage(error.to_string(), None));
    }
    let session = Session::open(&args.common, config.into()).await?;
    let looking = live_topology(session.place.cloud(), &config.stack);
    let live = session.look(looking).await?;
    session.progress.finish();
    live.ok_or_else(|| Problem::Missing {
        stack: config.stack.clone(),
    })
}

fn unanswerable(error: QueryError) -> Problem {
    Problem::Usage {
        hint: error.hint().map(str::to_owned),
        message: error.to_string(),
    }
}
