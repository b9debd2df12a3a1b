//! The operations of every kind except images: each is one call.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use landfall_compute::{
    AutoscalingGroup, ComputeProvider, GroupCapacity, GroupInstance, HostKey, Instance,
    InstanceProfile, KeyPair, LaunchTemplate, Release, ReleaseNote, Scaling, ScalingPolicy,
    Workload,
};
use landfall_container::Repository;
use landfall_lb::{LbProvider, Listener, ListenerRule, LoadBalancer, TargetGroup, TargetHealth};
use landfall_network::{
    ElasticIp, GatewayEndpoint, InternetGateway, NatGateway, NetworkAcl, RouteTable, SecurityGroup,
    SecurityGroupRules, Subnet, Vpc,
};
use landfall_provider::{
    Action, Attempt, AutoscalingGroupId, Error, ErrorKind, Holder, InstanceId, Key, Kind,
    LaunchTemplateId, Live, LockGuard, Plan, Preflight, Probe, Provider, ProviderIdentity,
    Resource, ResourceId, Result, StackLock, StackName, Step, TargetGroupId, kind,
};
use serde_json::Value;

use super::{HeldLock, Local, from_value};
use crate::inside::Reached;
use crate::wire::{Call, Extras, Vantage};

/// A kind whose resources are in the cloud: all except images, which are in the client's store.
pub trait OnLocal: Resource {}

macro_rules! on_local {
    ($($kind:ty),* $(,)?) => { $(impl OnLocal for $kind {})* };
}

on_local! {
    Vpc, InternetGateway, Subnet, ElasticIp, NatGateway, RouteTable, NetworkAcl, SecurityGroup,
    SecurityGroupRules, GatewayEndpoint, KeyPair, InstanceProfile, LaunchTemplate, AutoscalingGroup,
    ScalingPolicy, Instance, LoadBalancer, TargetGroup, Listener, ListenerRule, Repository,
}

#[async_trait]
impl<R: OnLocal> Provider<R> for Local {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<R>>> {
        let listed = self
            .ask(Call::List {
                kind: R::KIND,
                stack: stack.clone(),
            })
            .await?;
        Ok(listed.unwrap_or_default())
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &R) -> Result<R::Id> {
        let spec = spec(desired)?;
        let call = Call::Create {
            kind: R::KIND,
            stack: stack.clone(),
            name: key.name.clone(),
            extras: self.extras_for(&R::KIND, &spec)?,
            spec,
        };
        let (id, _) = self.demand::<String>(call).await?;
        Ok(R::Id::from(id))
    }

    async fn update(&self, live: &Live<R>, desired: &R) -> Result<()> {
        let spec = spec(desired)?;
        let call = Call::Update {
            kind: R::KIND,
            id: live.id.to_string(),
            extras: self.extras_for(&R::KIND, &spec)?,
            spec,
        };
        self.change(&live.id, call).await
    }

    async fn probe(&self, id: &R::Id) -> Result<Probe<R::Output>> {
        let probed = self
            .ask::<Probe<Value>>(Call::Probe {
                kind: R::KIND,
                id: id.to_string(),
            })
            .await?;
        probed.unwrap_or(Probe::Absent).try_map(from_value)
    }

    async fn delete(&self, live: &Live<R>) -> Result<()> {
        self.ask::<Value>(Call::Delete {
            kind: R::KIND,
            id: live.id.to_string(),
        })
        .await
        .map(|_| ())
    }
}

impl Local {
    /// Sends a call about an existing resource; without a cloud, the resource does not exist.
    async fn change(&self, id: &impl ResourceId, call: Call) -> Result<()> {
        match self.ask::<Value>(call).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format_args!("{id} is lost, because its local cloud has ended"),
            )),
        }
    }
}

fn spec<R: Resource>(desired: &R) -> Result<Value> {
    serde_json::to_value(desired).map_err(|error| {
        Error::new(ErrorKind::Invalid, "a spec does not go into JSON").caused_by(error)
    })
}

#[async_trait]
impl ComputeProvider for Local {
    async fn group_instances(&self, group: &AutoscalingGroupId) -> Result<Vec<GroupInstance>> {
        Ok(self
            .ask(Call::GroupInstances {
                group: group.clone(),
            })
            .await?
            .unwrap_or_default())
    }

    async fn roll(
        &self,
        group: &AutoscalingGroupId,
        template: &LaunchTemplateId,
        version: u32,
    ) -> Result<()> {
        let call = Call::Roll {
            group: group.clone(),
            template: template.clone(),
            version,
        };
        self.change(group, call).await
    }

    async fn roll_back(&self, group: &AutoscalingGroupId, why: &str) -> Result<()> {
        let call = Call::RollBack {
            group: group.clone(),
            why: why.to_owned(),
        };
        self.change(group, call).await
    }

    async fn rolling(&self, group: &AutoscalingGroupId) -> Result<Probe<()>> {
        let call = Call::Rolling {
            group: group.clone(),
        };
        Ok(self.ask(call).await?.unwrap_or(Probe::Absent))
    }

    fn note_releases(&self, note: ReleaseNote) {
        self.locked_extras().note = note;
    }

    async fn releases(
        &self,
        template: &LaunchTemplateId,
        group: &AutoscalingGroupId,
    ) -> Result<Vec<Release>> {
        let call = Call::Releases {
            template: template.clone(),
            group: group.clone(),
        };
        Ok(self.ask(call).await?.unwrap_or_default())
    }

    async fn capacity(&self, group: &AutoscalingGroupId) -> Result<GroupCapacity> {
        let group = group.clone();
        self.ask(Call::Capacity { group })
            .await?
            .ok_or_else(no_cloud)
    }

    async fn scale(&self, group: &AutoscalingGroupId, desired: u32) -> Result<()> {
        let call = Call::Scale {
            group: group.clone(),
            desired,
        };
        self.change(group, call).await
    }

    async fn last_scaling(&self, group: &AutoscalingGroupId) -> Result<Option<Scaling>> {
        let group = group.clone();
        Ok(self.ask(Call::LastScaling { group }).await?.flatten())
    }

    async fn last_output(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>> {
        let call = Call::LastOutput {
            instance: instance.clone(),
            lines,
        };
        Ok(self.ask(call).await?.unwrap_or_default())
    }

    async fn host_keys(&self, instance: &InstanceId) -> Result<Vec<HostKey>> {
        let call = Call::HostKeys {
            instance: instance.clone(),
        };
        Ok(self.ask(call).await?.unwrap_or_default())
    }
}

#[async_trait]
impl LbProvider for Local {
    async fn target_health(&self, group: &TargetGroupId) -> Result<Vec<TargetHealth>> {
        Ok(self
            .ask(Call::TargetHealth {
                group: group.clone(),
            })
            .await?
            .unwrap_or_default())
    }
}

#[async_trait]
impl StackLock for Local {
    async fn lock(&self, stack: &StackName, holder: &Holder) -> Result<Attempt> {
        let (busy, connection) = self
            .demand::<Option<Holder>>(Call::Lock {
                stack: stack.clone(),
                holder: holder.clone(),
            })
            .await?;
        if let Some(holder) = busy {
            return Ok(Attempt::Busy(holder));
        }
        self.0.locks.fetch_add(1, Ordering::SeqCst);
        let guard = LockGuard::new(HeldLock(self.clone()));
        let lost = self.clone().lock_lost(connection);
        Ok(Attempt::Taken(guard.lost_with(lost)))
    }

    async fn holder(&self, stack: &StackName) -> Result<Option<Holder>> {
        let call = Call::Holder {
            stack: stack.clone(),
        };
        Ok(self.ask(call).await?.flatten())
    }

    async fn break_lock(&self, stack: &StackName, holder: &Holder) -> Result<()> {
        if self.holder(stack).await?.as_ref() != Some(holder) {
            return Ok(());
        }
        let why =
            format!("the local lock of {stack} ends with its process, which is still running");
        Err(Error::new(ErrorKind::Denied, why).hint(format_args!(
            "end process {} if it hangs: its lock goes with it",
            holder.pid
        )))
    }
}

#[async_trait]
impl Preflight for Local {
    async fn preflight(&self, plan: &Plan) -> Result<Vec<Error>> {
        let mut findings = Vec::new();
        let makes = |of| {
            plan.steps.iter().filter(move |step| {
                step.key.kind == of && matches!(step.action, Action::Create { .. })
            })
        };
        for step in makes(kind::IMAGE) {
            if let Action::Create { desired, .. } = &step.action {
                let image = from_value(desired.clone())?;
                let checked = self.0.image_builder.check(&step.key.name, &image).await;
                findings.extend(
                    checked
                        .err()
                        .map(|error| error.doing("creating", &step.key)),
                );
            }
        }
        for step in &plan.steps {
            let (Action::Create { desired, .. } | Action::Update { desired, .. }) = &step.action
            else {
                continue;
            };
            if let Some(workload) = workload(&step.key.kind, desired)?
                && let Err(missing) = self.0.safe.open(&workload)
            {
                let missing = missing.into_iter();
                findings.extend(missing.map(|error| error.doing("making", &step.key)));
            }
        }
        for step in makes(kind::LISTENER) {
            if let Action::Create { desired, .. } = &step.action
                && !desired["certificate"].is_null()
            {
                findings.push(
                    Error::new(
                        ErrorKind::Invalid,
                        "the local provider has no certificates: it serves HTTP only",
                    )
                    .doing("creating", &step.key)
                    .hint("leave `certificate` out of `[load-balancer]` here"),
                );
            }
        }
        let asked = makes(kind::LISTENER).chain(makes(kind::INSTANCE).filter(runs_container));
        if let (Some(port), Some(listener)) =
            (self.extras().published_port, asked.into_iter().next())
        {
            // This only checks; it does not take the port.
            if let Err(error) = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)) {
                findings.push(
                    Error::new(
                        ErrorKind::AlreadyExists,
                        format_args!("the loopback port {port} cannot be opened: {error}"),
                    )
                    .doing("creating", &listener.key)
                    .hint("choose another `port` in [local], or remove the key to use a free port"),
                );
            }
        }
        Ok(findings)
    }
}

#[async_trait]
impl ProviderIdentity for Local {
    async fn provider_identity(&self) -> Result<String> {
        let machine = nix::unistd::gethostname().map_err(|error| {
            Error::new(ErrorKind::Other, "this machine has no name").caused_by(error)
        })?;
        let machine = machine.to_string_lossy();
        Ok(format!("local, {machine}, {}", self.0.dir.display()))
    }
}

/// Whether clients connect to the instance directly.
fn runs_container(step: &&Step) -> bool {
    matches!(&step.action, Action::Create { desired, .. } if !desired["workload"].is_null())
}

/// The workload of a resource, if it has one.
fn workload(of: &Kind, spec: &Value) -> Result<Option<Workload>> {
    if *of == kind::LAUNCH_TEMPLATE {
        return Ok(Some(from_value::<LaunchTemplate>(spec.clone())?.workload));
    }
    if *of == kind::INSTANCE {
        return Ok(from_value::<Instance>(spec.clone())?.workload);
    }
    Ok(None)
}

impl Local {
    /// The settings that are sent beside a spec.
    fn extras_for(&self, of: &Kind, spec: &Value) -> Result<Extras> {
        let mut extras = self.extras();
        if let Some(workload) = workload(of, spec)? {
            let opened = self.0.safe.open(&workload);
            // Preflight has reported all of them already; here, the first one is enough.
            extras.secrets = opened.map_err(|errors| {
                let first = errors.into_iter().next();
                first.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "a secret has no value"))
            })?;
        }
        Ok(extras)
    }

    /// Tries a TCP connection inside the cloud's network, from a host on the
    /// simulated internet or from an instance, and returns the result.
    ///
    /// # Errors
    /// When the place does not exist, or no cloud runs.
    pub async fn reach(
        &self,
        from: Vantage,
        to: std::net::Ipv4Addr,
        port: u16,
        time_limit: std::time::Duration,
    ) -> Result<Reached> {
        let timeout_ms = u64::try_from(time_limit.as_millis()).unwrap_or(u64::MAX);
        let reached = self
            .ask(Call::Reach {
                from,
                to,
                port,
                timeout_ms,
            })
            .await?;
        reached.ok_or_else(no_cloud)
    }
}

fn no_cloud() -> Error {
    Error::new(ErrorKind::NotFound, "there is no local cloud")
}
