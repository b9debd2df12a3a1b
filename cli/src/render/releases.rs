//! The releases of services as a table, the newest first.

use anstyle::Style;
use landfall_compute::{Release, ReleaseState};
use landfall_pipeline::ServiceReleases;

use super::{BAD, CHANGED, DIM, GOOD, STRONG, Table, or_dash, paint, tame};
use crate::commands::releases::time;

/// The length of a digest that distinguishes images.
const SHORT: usize = "sha256:".len() + 12;

/// A table for each service.
pub(crate) fn render(services: &[ServiceReleases]) -> String {
    let mut table = Table::default();
    for service in services {
        table.heading(paint(STRONG, &service.service));
        let heads = ["release", "state", "image", "commit", "made", "by", ""];
        table.row("  ", heads.map(|head| (DIM, head.to_owned())));
        for release in service.releases.iter().rev() {
            table.row("  ", row(release));
        }
    }
    let mut text = table.lines().join("\n");
    text.push('\n');
    text
}

fn row(release: &Release) -> [(Style, String); 7] {
    let plain = Style::new();
    let style = match &release.state {
        ReleaseState::Current => GOOD,
        ReleaseState::Rolling | ReleaseState::Waiting => CHANGED,
        ReleaseState::Failed(_) => BAD,
        ReleaseState::Superseded => DIM,
    };
    let digest = release
        .digest()
        .map(|digest| digest.chars().take(SHORT).collect::<String>());
    let back = release
        .note
        .back_to
        .map(|version| format!("rollback to {version}"));
    let why = match &release.state {
        ReleaseState::Failed(why) => Some(tame(why)),
        _ => None,
    };
    let remark: Vec<String> = back.into_iter().chain(why).collect();
    [
        (STRONG, release.version.to_string()),
        (style, release.state.word().to_owned()),
        (plain, or_dash(digest)),
        (plain, or_dash(release.note.commit.as_deref().map(tame))),
        (DIM, or_dash(release.made.map(time))),
        (DIM, or_dash(release.who.as_deref().map(tame))),
        (plain, remark.join(": ")),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use landfall_compute::{LaunchTemplate, Limits, ReleaseNote, Workload};
    use landfall_provider::{ImageId, Input, Port};

    use super::*;

    fn release(version: u32, state: ReleaseState, back_to: Option<u32>) -> Release {
        let digest = format!("{version:064x}");
        Release {
            version,
            spec: LaunchTemplate {
                instance_type: "t3.micro".into(),
                groups: Vec::new(),
                profile: None,
                key: None,
                workload: Workload {
                    image: Input::Known(ImageId::from(format!("digipay/web@sha256:{digest}"))),
                    port: Port::new(8000).unwrap(),
                    env: BTreeMap::new(),
                    secrets: BTreeMap::new(),
                    logs: None,
                    limits: Limits::default(),
                    init: false,
                },
            },
            made: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)),
            who: Some("ana@build-3".into()),
            note: ReleaseNote {
                who: String::new(),
                commit: (version > 1).then(|| "1a2b3c4d5e6f".into()),
                back_to,
            },
            state,
        }
    }

    #[test]
    fn a_release_in_a_row_the_newest_first() {
        let services = [ServiceReleases {
            service: "web".parse().unwrap(),
            releases: vec![
                release(1, ReleaseState::Superseded, None),
                release(2, ReleaseState::Failed("exited with code 3".into()), None),
                release(3, ReleaseState::Current, Some(1)),
            ],
        }];
        let plain = anstream::adapter::strip_str(&render(&services)).to_string();
        insta::assert_snapshot!(plain, @r"
        web
          release  state       image                commit        made                  by
          3        current     sha256:000000000000  1a2b3c4d5e6f  2026-11-18T11:06:40Z  ana@build-3  rollback to 1
          2        failed      sha256:000000000000  1a2b3c4d5e6f  2026-11-18T11:06:40Z  ana@build-3  exited with code 3
          1        superseded  sha256:000000000000  -             2026-11-18T11:06:40Z  ana@build-3
        ");
    }
}
