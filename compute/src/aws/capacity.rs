//! The present capacity of a group, as set by its file, by hand, or by a policy.
//!
//! The file's number is stored in a tag, so that a plan shows no change after scaling.

use std::time::SystemTime;

use aws_sdk_autoscaling::types::Activity;
use landfall_aws::{Aws, during};
use landfall_provider::{AutoscalingGroupId, Error, ErrorKind, Result};

use super::autoscaling_group::{activities, shared};
use super::{autoscaling, count, number};
use crate::{GroupCapacity, Scaling};

/// The text in an activity's cause that precedes the old and the new capacity.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-verify-scaling-activity.html>
const CHANGING: &str = "changing the desired capacity from ";

/// The present capacity of the group.
pub(super) async fn now(aws: &Aws, id: &AutoscalingGroupId) -> Result<GroupCapacity> {
    let found = shared(aws, id).await?.ok_or_else(|| {
        let why = format_args!("the autoscaling-group `{id}` does not exist");
        Error::new(ErrorKind::NotFound, why)
    })?;
    Ok(GroupCapacity {
        min: count(found.min_size()),
        desired: count(found.desired_capacity()),
        max: count(found.max_size()),
    })
}

/// Sets the capacity.
pub(super) async fn set(aws: &Aws, id: &AutoscalingGroupId, desired: u32) -> Result<()> {
    autoscaling(aws)
        .set_desired_capacity()
        .auto_scaling_group_name(id.as_ref())
        .desired_capacity(number(desired))
        // A manual change does not wait for the cooldown of a policy.
        .honor_cooldown(false)
        .send()
        .await
        .map_err(during("autoscaling:SetDesiredCapacity"))?;
    Ok(())
}

/// The newest change of capacity among the group's last activities.
pub(super) async fn last_change(aws: &Aws, id: &AutoscalingGroupId) -> Result<Option<Scaling>> {
    Ok(activities(aws, id).await?.iter().find_map(scaling))
}

/// The change of capacity in an activity. One change creates an activity for every instance that it
/// launches or terminates, all with the same cause.
fn scaling(activity: &Activity) -> Option<Scaling> {
    let cause = activity.cause()?;
    let mut sentences = cause.split(". ").map(str::trim);
    let why = sentences.find(|sentence| sentence.contains(CHANGING))?;
    Some(Scaling {
        at: activity
            .start_time()
            .and_then(|time| SystemTime::try_from(*time).ok()),
        why: why.trim_end_matches('.').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(cause: &str) -> Activity {
        Activity::builder().cause(cause).build()
    }

    #[test]
    fn policy_change_shows_its_cause_only() {
        // From the user guide, "Verify a scaling activity for an Auto Scaling group".
        let cause = "At 2020-12-15T20:22:37Z a monitor alarm TargetTracking-web-AlarmHigh in state ALARM triggered \
            policy requests changing the desired capacity from 2 to 3.  At 2020-12-15T20:22:39Z an instance was \
            started in response to a difference between desired and actual capacity, increasing the capacity from 2 \
            to 3.";
        let why = scaling(&activity(cause)).unwrap().why;
        assert_eq!(
            why,
            "At 2020-12-15T20:22:37Z a monitor alarm TargetTracking-web-AlarmHigh in state ALARM triggered policy \
             requests changing the desired capacity from 2 to 3"
        );
    }

    #[test]
    fn a_launch_that_only_fills_the_group_changes_no_capacity() {
        let cause = "At 2020-12-15T20:22:37Z an instance was started in response to a difference between desired \
            and actual capacity, increasing the capacity from 1 to 2.";
        assert_eq!(scaling(&activity(cause)), None);
    }
}
