//! `explain`: tell whether a connection comes about, and what stops it.

use landfall_network::reach::Topology;
use landfall_pipeline::{Config, Explanation, Query, QueryError, live_topology, planned_topology};
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

/// Explains, and gives the exit code: the answer.
pub(crate) async fn explain(args: &Explain) -> Result<u8, Problem> {
    let config = config(&args.common)?;
    // Before anybody is asked: what cannot be asked.
    let query = match (&args.from, &args.to) {
        (Some(from), Some(to)) => Some(Query::new(from, to).map_err(unanswerable)?),
        _ => None,
    };
    let topology = topology(args, &config).await?;
    let Some(query) = query else {
        return Err(Problem::usage("not yet", None));
    };
    let explanation =
        landfall_pipeline::explain(&config, &topology, &query).map_err(unanswerable)?;
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

/// The network that is asked about.
async fn topology(args: &Explain, config: &Config) -> Result<Topology, Problem> {
    if !args.live {
        let planned = planned_topology(config);
        return planned.map_err(|error| Problem::usage(error.to_string(), None));
    }
    let session = Session::open(&args.common, Some(config))?;
    let live = live_topology(session.place.cloud(), &config.stack).await?;
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
