//! A listener on AWS.

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{
    self, ActionTypeEnum, Certificate, ForwardActionConfig, ProtocolEnum, RedirectActionConfig,
    RedirectActionStatusCodeEnum,
};
use landfall_aws::{
    Aws, Owner, created_or_found, during, if_there, input, known, lacks, unless, until_visible,
};
use landfall_provider::{
    ErrorKind, Key, ListenerId, Live, Port, Probe, Provider, Result, StackName,
};

use super::certificate::refused;
use super::inventory::{listeners, survey};
use super::load_balancer::host;
use super::{client, port, tags, tuple};
use crate::{Action, Listener, ListenerOutput};

/// TLS 1.2 and 1.3 with forward secrecy.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html>
const TLS_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

#[async_trait]
impl Provider<Listener> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Listener>>> {
        let survey = survey(self, stack).await?;
        let found = survey.listeners.iter().filter_map(|own| {
            let balancer = survey
                .balancers
                .iter()
                .find(|balancer| balancer.it.load_balancer_arn() == own.it.load_balancer_arn());
            let host = balancer.and_then(|balancer| balancer.it.dns_name());
            Some(Live {
                id: ListenerId::from(own.it.listener_arn()?),
                name: own.name.clone(),
                spec: spec(&own.it)?,
                state: state(&own.it, host),
            })
        });
        Ok(found.collect())
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &Listener) -> Result<ListenerId> {
        let balancer = known(&desired.balancer)?;
        let created = client(self)
            .create_listener()
            .load_balancer_arn(balancer)
            .port(desired.port.get().into())
            .protocol(protocol(desired))
            .set_ssl_policy(desired.certificate.as_ref().map(|_| TLS_POLICY.to_owned()))
            .set_certificates(certificates(desired))
            .default_actions(action(&desired.action)?)
            .set_tags(Some(tags(&Owner::new(stack, &key.name))))
            .send()
            .await
            .map_err(during("elasticloadbalancing:CreateListener"))
            .map_err(refused)
            .map_err(until_visible)
            .map(|answer| answer.listeners.unwrap_or_default());
        let found = async {
            let mut listeners = listeners(self, balancer).await?;
            listeners.retain(|listener| port(listener.port()) == Some(desired.port));
            Ok((!listeners.is_empty()).then_some(listeners))
        };
        let made = created_or_found(created, found).await?.into_iter().next();
        let lacking = || lacks("elasticloadbalancing:CreateListener", "an ARN");
        let made = made.ok_or_else(lacking)?;
        let id = ListenerId::from(made.listener_arn().ok_or_else(lacking)?);
        let host = host(self, balancer).await?;
        self.seen::<Listener>(&id, state(&made, host.as_deref()));
        Ok(id)
    }

    async fn update(&self, live: &Live<Listener>, desired: &Listener) -> Result<()> {
        client(self)
            .modify_listener()
            .listener_arn(live.id.as_ref())
            .port(desired.port.get().into())
            .protocol(protocol(desired))
            .set_ssl_policy(desired.certificate.as_ref().map(|_| TLS_POLICY.to_owned()))
            .set_certificates(certificates(desired))
            .default_actions(action(&desired.action)?)
            .send()
            .await
            .map_err(during("elasticloadbalancing:ModifyListener"))
            .map_err(refused)?;
        Ok(())
    }

    async fn probe(&self, id: &ListenerId) -> Result<Probe<ListenerOutput>> {
        if let Some(state) = self.first_look::<Listener>(id) {
            return Ok(state);
        }
        let answer = client(self)
            .describe_listeners()
            .listener_arns(id.as_ref())
            .send()
            .await
            .map_err(during("elasticloadbalancing:DescribeListeners"));
        let listeners = if_there(answer)?.and_then(|answer| answer.listeners);
        let Some(listener) = listeners.unwrap_or_default().into_iter().next() else {
            return Ok(Probe::Absent);
        };
        let host = host(self, listener.load_balancer_arn().unwrap_or_default()).await?;
        Ok(state(&listener, host.as_deref()))
    }

    async fn delete(&self, live: &Live<Listener>) -> Result<()> {
        let deleted = client(self)
            .delete_listener()
            .listener_arn(live.id.as_ref())
            .send()
            .await
            .map_err(during("elasticloadbalancing:DeleteListener"));
        unless(ErrorKind::NotFound, deleted)?;
        self.seen::<Listener>(&live.id, Probe::Absent);
        Ok(())
    }
}

fn protocol(desired: &Listener) -> ProtocolEnum {
    match desired.certificate {
        Some(_) => ProtocolEnum::Https,
        None => ProtocolEnum::Http,
    }
}

fn certificates(desired: &Listener) -> Option<Vec<Certificate>> {
    let certificate = desired.certificate.as_ref()?;
    Some(vec![
        Certificate::builder().certificate_arn(certificate).build(),
    ])
}

/// An action in AWS's form, for listeners and rules.
pub(super) fn action(action: &Action) -> Result<types::Action> {
    let built = match action {
        Action::Forward(group) => {
            let group = known(group)?;
            types::Action::builder()
                .r#type(ActionTypeEnum::Forward)
                .forward_config(
                    ForwardActionConfig::builder()
                        .target_groups(tuple(group))
                        .build(),
                )
        }
        Action::RedirectToHttps(port) => {
            let redirect = RedirectActionConfig::builder()
                .protocol("HTTPS")
                .port(port.to_string())
                .status_code(RedirectActionStatusCodeEnum::Http301)
                .build();
            types::Action::builder()
                .r#type(ActionTypeEnum::Redirect)
                .redirect_config(redirect)
        }
    };
    Ok(built.build())
}

/// `None` for an action that Landfall does not create.
pub(super) fn read_action(actions: &[types::Action]) -> Option<Action> {
    let action = actions.first()?;
    match action.r#type()? {
        ActionTypeEnum::Forward => {
            let groups = action.forward_config().map(|config| config.target_groups());
            let group = groups.and_then(|groups| groups.first()?.target_group_arn());
            Some(Action::Forward(input(group.or(action.target_group_arn())?)))
        }
        ActionTypeEnum::Redirect => {
            let port = action.redirect_config()?.port()?.parse().ok()?;
            Some(Action::RedirectToHttps(Port::new(port).ok()?))
        }
        _ => None,
    }
}

/// A listener that somebody changed to an unsupported action gets a group that differs from every
/// desired one.
fn spec(listener: &types::Listener) -> Option<Listener> {
    Some(Listener {
        balancer: input(listener.load_balancer_arn().unwrap_or_default()),
        port: port(listener.port())?,
        certificate: listener
            .certificates()
            .first()
            .and_then(|certificate| certificate.certificate_arn().map(str::to_owned)),
        action: read_action(listener.default_actions())
            .unwrap_or_else(|| Action::Forward(input("unknown"))),
    })
}

fn state(listener: &types::Listener, host: Option<&str>) -> Probe<ListenerOutput> {
    let Some(host) = host else {
        return Probe::Pending("its balancer is not visible yet".to_owned());
    };
    let (scheme, usual) = match listener.protocol() {
        Some(ProtocolEnum::Https) => ("https", 443),
        _ => ("http", 80),
    };
    let port = listener.port().unwrap_or(usual);
    let url = if port == usual {
        format!("{scheme}://{host}/")
    } else {
        format!("{scheme}://{host}:{port}/")
    };
    Probe::Usable(ListenerOutput { url })
}
