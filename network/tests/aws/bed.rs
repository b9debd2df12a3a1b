//! A moto server, a counting endpoint in front of it, and sessions with it.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_aws::{Aws, AwsOptions, Check, Keys};
use landfall_network::aws::check;
use landfall_network::kinds;
use landfall_provider::{
    Applied, ApplyOptions, Catalog, Plan, PollInterval, Preflight, Stack, StackName, apply, plan,
};
use landfall_testkit::moto::{ACCESS_KEY, Moto, REGION};
use landfall_testkit::scripted::{Builder, Endpoint};

pub(crate) struct Bed {
    pub(crate) moto: Moto,
    pub(crate) endpoint: Endpoint,
    pub(crate) aws: Aws,
}

/// A session with an empty cache, for any endpoint.
pub(crate) async fn session(url: String) -> Aws {
    session_with(url, vec![check()]).await
}

/// A session with these checks.
pub(crate) async fn session_with(url: String, checks: Vec<Box<dyn Check>>) -> Aws {
    let options = AwsOptions {
        endpoint: Some(url),
        region: Some(REGION.to_owned()),
        keys: Some(Keys {
            id: ACCESS_KEY.0.to_owned(),
            secret: ACCESS_KEY.1.to_owned(),
            session: None,
        }),
        ..AwsOptions::default()
    };
    Aws::open(options, checks).await.unwrap()
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::behind(Endpoint::builder()).await
    }

    /// With an endpoint that may change calls on their way.
    pub(crate) async fn behind(endpoint: Builder) -> Self {
        let moto = Moto::start().await.unwrap();
        let endpoint = endpoint.upstream(moto.address()).start().unwrap();
        let aws = session(endpoint.url()).await;
        endpoint.forget();
        Self {
            moto,
            endpoint,
            aws,
        }
    }

    /// Simulates another run of the program: the first session's cache is lost.
    pub(crate) async fn next_run(&mut self) {
        self.aws = session(self.endpoint.url()).await;
        self.endpoint.forget();
    }

    /// The number of calls by action since the last time, as text.
    pub(crate) fn calls(&self) -> (usize, String) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for call in self.endpoint.calls() {
            *counts.entry(call.to_string()).or_default() += 1;
        }
        self.endpoint.forget();
        let lines: Vec<String> = counts
            .iter()
            .map(|(action, count)| format!("{count:>4} {action}"))
            .collect();
        (counts.values().sum(), lines.join("\n"))
    }

    pub(crate) async fn plan(&self, desired: &Stack) -> Plan {
        let catalog = catalog();
        let live = catalog.snapshot(&self.aws, desired.name()).await.unwrap();
        plan(desired, &live, catalog.schema()).unwrap()
    }

    /// Applies the desired stack, like a deploy.
    pub(crate) async fn deploy(&self, desired: &Stack) -> Applied {
        let plan = self.plan(desired).await;
        let findings = self.aws.preflight(&plan).await.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        let applied = apply(&plan, &self.aws, &catalog(), &quick()).await;
        assert!(applied.is_complete(), "{applied:#?}");
        applied
    }

    pub(crate) async fn destroy(&self, stack: &StackName) {
        self.deploy(&Stack::new(stack.clone())).await;
    }
}

pub(crate) fn catalog() -> Catalog<Aws> {
    kinds(Catalog::new())
}

/// An emulator is nearby, so the first probes are soon; faults are tolerated for half a minute.
pub(crate) fn quick() -> ApplyOptions {
    ApplyOptions {
        poll_interval: PollInterval {
            first: Duration::from_millis(20),
            longest: Duration::from_secs(5),
        },
        ..ApplyOptions::default()
    }
}
