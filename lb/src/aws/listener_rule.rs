//! A rule of a listener on AWS.

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{
    self, HostHeaderConditionConfig, PathPatternConditionConfig, RuleCondition, RulePriorityPair,
};
use landfall_aws::{
    Aws, Owner, created_or_found, during, if_there, input, known, lacks, unless, until_visible,
};
use landfall_provider::{ErrorKind, Key, ListenerRuleId, Live, Probe, Provider, Result, StackName};

use super::inventory::{rules, survey};
use super::listener::{action, read_action};
use super::{client, tags};
use crate::{Action, Condition, ListenerRule};

#[async_trait]
impl Provider<ListenerRule> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<ListenerRule>>> {
        let survey = survey(self, stack).await?;
        let found = survey.rules.iter().filter_map(|(own, listener)| {
            Some(Live {
                id: ListenerRuleId::from(own.it.rule_arn()?),
                name: own.name.clone(),
                spec: spec(&own.it, listener)?,
                state: Probe::Usable(()),
            })
        });
        Ok(found.collect())
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &ListenerRule,
    ) -> Result<ListenerRuleId> {
        let listener = known(&desired.listener)?;
        let created = client(self)
            .create_rule()
            .listener_arn(listener)
            .priority(desired.priority.into())
            .conditions(condition(&desired.condition))
            .actions(action(&Action::Forward(desired.target_group.clone()))?)
            .set_tags(Some(tags(&Owner::new(stack, &key.name))))
            .send()
            .await
            .map_err(during("elasticloadbalancing:CreateRule"))
            .map_err(until_visible)
            .map(|answer| answer.rules.unwrap_or_default());
        let found = async {
            let mut own: Vec<_> = rules(self, listener).await?;
            own.retain(|(rule, listener)| spec(rule, listener).as_ref() == Some(desired));
            Ok((!own.is_empty()).then(|| own.into_iter().map(|(rule, _)| rule).collect()))
        };
        let arn = created_or_found(created, found)
            .await?
            .into_iter()
            .find_map(|rule| rule.rule_arn)
            .ok_or_else(|| lacks("elasticloadbalancing:CreateRule", "an ARN"))?;
        Ok(ListenerRuleId::from(arn))
    }

    async fn update(&self, live: &Live<ListenerRule>, desired: &ListenerRule) -> Result<()> {
        let arn = live.id.as_ref();
        if live.spec.priority != desired.priority {
            let pair = RulePriorityPair::builder()
                .rule_arn(arn)
                .priority(desired.priority.into())
                .build();
            let set = client(self)
                .set_rule_priorities()
                .rule_priorities(pair)
                .send()
                .await
                .map_err(during("elasticloadbalancing:SetRulePriorities"))
                .map(|_| ());
            // In use, perhaps by this very rule, when the answer to an earlier call was lost.
            let is_so = async {
                let rule = described(self, arn).await?;
                let is = rule.and_then(|rule| rule.priority);
                Ok((is == Some(desired.priority.to_string())).then_some(()))
            };
            created_or_found(set, is_so).await?;
        }
        let rest = |rule: &ListenerRule| (rule.condition.clone(), rule.target_group.clone());
        if rest(&live.spec) != rest(desired) {
            client(self)
                .modify_rule()
                .rule_arn(arn)
                .conditions(condition(&desired.condition))
                .actions(action(&Action::Forward(desired.target_group.clone()))?)
                .send()
                .await
                .map_err(during("elasticloadbalancing:ModifyRule"))?;
        }
        Ok(())
    }

    async fn probe(&self, id: &ListenerRuleId) -> Result<Probe<()>> {
        let found = described(self, id.as_ref()).await?;
        Ok(found.map_or(Probe::Absent, |_| Probe::Usable(())))
    }

    async fn delete(&self, live: &Live<ListenerRule>) -> Result<()> {
        let deleted = client(self)
            .delete_rule()
            .rule_arn(live.id.as_ref())
            .send()
            .await
            .map_err(during("elasticloadbalancing:DeleteRule"));
        unless(ErrorKind::NotFound, deleted)
    }
}

async fn described(aws: &Aws, arn: &str) -> Result<Option<types::Rule>> {
    let answer = client(aws)
        .describe_rules()
        .rule_arns(arn)
        .send()
        .await
        .map_err(during("elasticloadbalancing:DescribeRules"));
    let rules = if_there(answer)?.and_then(|answer| answer.rules);
    Ok(rules.unwrap_or_default().into_iter().next())
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html>
fn condition(condition: &Condition) -> RuleCondition {
    match condition {
        Condition::Path(pattern) => RuleCondition::builder()
            .field("path-pattern")
            .path_pattern_config(
                PathPatternConditionConfig::builder()
                    .values(pattern)
                    .build(),
            ),
        Condition::Host(pattern) => RuleCondition::builder()
            .field("host-header")
            .host_header_config(HostHeaderConditionConfig::builder().values(pattern).build()),
    }
    .build()
}

fn read_condition(conditions: &[RuleCondition]) -> Option<Condition> {
    let condition = conditions.first()?;
    let path = condition
        .path_pattern_config()
        .map(|config| config.values());
    let host = condition.host_header_config().map(|config| config.values());
    // Older answers have the values beside the configuration.
    let plain = condition.values().first();
    match condition.field()? {
        "path-pattern" => Some(Condition::Path(
            path.and_then(<[_]>::first).or(plain)?.clone(),
        )),
        "host-header" => Some(Condition::Host(
            host.and_then(<[_]>::first).or(plain)?.clone(),
        )),
        _ => None,
    }
}

/// A rule that somebody changed to an unsupported form differs from every desired one.
fn spec(rule: &types::Rule, listener: &str) -> Option<ListenerRule> {
    let group = match read_action(rule.actions()) {
        Some(Action::Forward(group)) => group,
        _ => input("unknown"),
    };
    Some(ListenerRule {
        listener: input(listener),
        priority: rule.priority()?.parse().ok()?,
        condition: read_condition(rule.conditions())
            .unwrap_or_else(|| Condition::Path("unknown".to_owned())),
        target_group: group,
    })
}
