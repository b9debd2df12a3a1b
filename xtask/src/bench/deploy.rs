//! The time of a deploy on a simulated AWS to its last healthy target, compared with the possible
//! minimum.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::gantt::{self, Chart};
use super::median;
use crate::repo;

/// The options of `cargo xtask bench deploy`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the picture of the run goes
    #[arg(long, default_value = "target/deploy.svg")]
    svg: PathBuf,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
}

/// The output of the bench of `landfall-pipeline`, in seconds.
#[derive(Debug, Deserialize)]
struct Measured {
    deploy: f64,
    bound: f64,
    each_usable: f64,
    behind_way_out: f64,
    tiers: f64,
    destroy: f64,
    destroy_bound: f64,
    drawn: Vec<f64>,
    bars: Vec<gantt::Bar>,
    targets: Targets,
}

/// The start of the instances.
#[derive(Debug, Deserialize)]
struct Targets {
    running: f64,
    serving: f64,
    checked: f64,
    healthy: f64,
}

/// The figures, in seconds of virtual time.
#[derive(Debug, PartialEq, Serialize)]
struct Figures {
    /// From the call of deploy to its return.
    deploy: f64,
    /// The longest chain of waits in the plan.
    bound: f64,
    /// The ratio of the first to the second.
    ratio: f64,
    /// The median of such ratios, with durations drawn from their spreads.
    ratio_drawn_median: f64,
    /// The maximum of them.
    ratio_drawn_most: f64,
    /// The number of draws.
    drawn: usize,
    /// With each resource usable before its dependents start, without lost time.
    each_usable: f64,
    /// The same, with instances launched only after their route out exists.
    behind_way_out: f64,
    /// One tier after the other, without lost time.
    tiers: f64,
    /// From the call of destroy to its return.
    destroy: f64,
    /// The possible minimum of a destroy.
    destroy_bound: f64,
}

/// Measures, draws and prints.
///
/// # Errors
/// When the bench fails, or the picture cannot be written.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    // Optimisation does not affect virtual time, so an optimised build is not needed.
    let mut bench = repo::cargo(["bench", "--quiet", "--profile=dev"]);
    bench.args(["--package=landfall-pipeline", "--bench=deploy"]);
    let printed = repo::output_of(&mut bench)?;
    let measured: Measured = serde_json::from_str(printed.trim())
        .map_err(|error| format!("the bench's line: {error}: {printed}"))?;
    let figures = figures(&measured);
    let path = repo::root().join(&options.svg);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    std::fs::write(&path, gantt::svg(&chart(measured)))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if options.json {
        let line = serde_json::to_string(&figures).map_err(|error| error.to_string())?;
        println!("{line}");
    } else {
        println!("{}\n\npicture: {}", table(&figures), path.display());
    }
    Ok(())
}

fn figures(measured: &Measured) -> Figures {
    let thousandths = |ratio: f64| (ratio * 1000.0).round() / 1000.0;
    Figures {
        deploy: measured.deploy,
        bound: measured.bound,
        ratio: thousandths(measured.deploy / measured.bound),
        ratio_drawn_median: thousandths(median(measured.drawn.clone())),
        ratio_drawn_most: thousandths(measured.drawn.iter().copied().fold(0.0, f64::max)),
        drawn: measured.drawn.len(),
        each_usable: measured.each_usable,
        behind_way_out: measured.behind_way_out,
        tiers: measured.tiers,
        destroy: measured.destroy,
        destroy_bound: measured.destroy_bound,
    }
}

fn chart(measured: Measured) -> Chart {
    let Targets {
        running,
        serving,
        checked,
        healthy,
    } = measured.targets;
    let mut bars = measured.bars;
    bars.sort_by(|a, b| a.start.total_cmp(&b.start).then_with(|| a.key.cmp(&b.key)));
    bars.push(gantt::Bar {
        key: "instances: boot, image".to_owned(),
        start: running,
        exists: running,
        usable: serving,
        is_critical: serving > checked,
    });
    bars.push(gantt::Bar {
        key: "targets: checked, seen healthy".to_owned(),
        start: checked,
        exists: healthy,
        usable: measured.deploy,
        is_critical: true,
    });
    Chart {
        title: format!("{:.1} s to the last healthy target", measured.deploy),
        bars,
        end: measured.deploy,
    }
}

fn table(figures: &Figures) -> String {
    let Figures {
        deploy,
        bound,
        ratio,
        ratio_drawn_median,
        ratio_drawn_most,
        drawn,
        each_usable,
        behind_way_out,
        tiers,
        destroy,
        destroy_bound,
    } = figures;
    format!(
        "the example on a simulated AWS, medians of public logs, virtual time\n\
         deploy, to the last healthy target                        {deploy:>7.1} s\n\
         (a) the bound: the plan's longest chain                   {bound:>7.1} s   deploy is {ratio:.3} of it\n\
         (b) each resource usable before its dependents            {each_usable:>7.1} s\n\
         \x20   and instances after their way out to the image        {behind_way_out:>7.1} s\n\
         (c) image, network, balancer, instances, in turn          {tiers:>7.1} s\n\
         destroy, until nothing is left                            {destroy:>7.1} s\n\
         the least that a destroy can take                         {destroy_bound:>7.1} s\n\
         with durations drawn from their spreads, {drawn} runs: deploy by bound {ratio_drawn_median:.3} in the middle, {ratio_drawn_most:.3} at most"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_a_deploy_by_its_bound() {
        let measured: Measured = serde_json::from_str(
            r#"{"deploy": 102.0, "bound": 100.0, "each_usable": 1, "behind_way_out": 1, "tiers": 1,
                "destroy": 1, "destroy_bound": 1, "drawn": [1.02, 1.04, 1.01], "bars": [],
                "targets": {"running": 50, "serving": 60, "checked": 99, "healthy": 101}}"#,
        )
        .unwrap();
        let figures = figures(&measured);
        assert_eq!(figures.ratio, 1.02);
        assert_eq!(
            (figures.ratio_drawn_median, figures.ratio_drawn_most),
            (1.02, 1.04)
        );
        assert!(table(&figures).contains("100.0 s   deploy is 1.020 of it"));
    }
}
