//! One change to a stack at a time: a parameter in SSM's Parameter Store that is created without overwriting.
//!
//! No state backend needs maintenance, and the parameter's value names the holder of the lock. The
//! parameter is not part of the stack: it exists only during a run.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{ParameterType, Tag};
use landfall_provider::{
    Attempt, Error, ErrorKind, Holder, Left, LockGuard, Result, StackLock, StackName,
};
use tokio::time::{Instant, sleep};

use crate::call::during;
use crate::outcome::{if_there, unless};
use crate::session::Aws;
use crate::tags::OWNER_STACK;

/// How long the name of a deleted parameter may be refused. AWS says to wait for at least 30 s.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DeleteParameter.html>
const NAME_IS_FREE_WITHIN: Duration = Duration::from_secs(45);
/// The pause before the first new try for a name that is refused while nobody holds the lock; longer each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>
fn parameter(stack: &StackName) -> String {
    format!("/landfall/{stack}/lock")
}

fn client(aws: &Aws) -> Client {
    aws.client(Client::new)
}

#[async_trait]
impl StackLock for Aws {
    async fn lock(&self, stack: &StackName, holder: &Holder) -> Result<Attempt> {
        let text = serde_json::to_string(holder).map_err(|error| {
            Error::new(ErrorKind::Invalid, "a lock's holder does not go into JSON").caused_by(error)
        })?;
        let deadline = Instant::now() + NAME_IS_FREE_WITHIN;
        let mut pause = FIRST_PAUSE;
        loop {
            let tag = Tag::builder()
                .key(OWNER_STACK)
                .value(stack.as_str())
                .build()
                .map_err(|error| {
                    Error::new(ErrorKind::Invalid, "a tag without a key").caused_by(error)
                })?;
            let put = client(self)
                .put_parameter()
                .name(parameter(stack))
                .description("Held while Landfall changes the stack")
                .r#type(ParameterType::String)
                .value(&text)
                .overwrite(false)
                .tags(tag)
                .send()
                .await
                .map_err(during("ssm:PutParameter"));
            match put {
                Ok(_) => return Ok(Attempt::Taken(self.guard(stack, holder))),
                // Taken by somebody else, or by this very call, whose first answer was lost.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if *error.left_behind() == Left::Unknown => {}
                Err(error) => return Err(error),
            }
            match self.holder(stack).await? {
                Some(other) if other == *holder => {
                    return Ok(Attempt::Taken(self.guard(stack, holder)));
                }
                Some(other) => return Ok(Attempt::Busy(other)),
                // Released a moment ago: AWS refuses the name for a while.
                None if Instant::now() < deadline => {}
                None => {
                    let why = format_args!(
                        "AWS refuses the name {} although no run holds the lock",
                        parameter(stack)
                    );
                    return Err(Error::new(ErrorKind::Unavailable, why).hint("run again"));
                }
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    async fn holder(&self, stack: &StackName) -> Result<Option<Holder>> {
        let name = parameter(stack);
        let found = client(self)
            .get_parameter()
            .name(&name)
            .send()
            .await
            .map_err(during("ssm:GetParameter"));
        let value = if_there(found)?
            .and_then(|found| found.parameter)
            .and_then(|parameter| parameter.value);
        let Some(text) = value else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                format_args!("the parameter {name} does not say whose lock it is"),
            )
            .hint(format_args!(
                "if nobody is deploying: aws ssm delete-parameter --name {name}"
            ))
            .caused_by(error)
        })
    }

    async fn break_lock(&self, stack: &StackName, holder: &Holder) -> Result<()> {
        release(self, stack, holder).await
    }
}

impl Aws {
    fn guard(&self, stack: &StackName, holder: &Holder) -> LockGuard {
        let (aws, stack, holder) = (self.clone(), stack.clone(), holder.clone());
        LockGuard::with_release(async move { release(&aws, &stack, &holder).await })
    }
}

/// Deletes the lock if this holder has it. Somebody may have broken it meanwhile, and another run may have taken it. AWS
/// deletes a parameter by its name alone, so the look comes just before.
async fn release(aws: &Aws, stack: &StackName, holder: &Holder) -> Result<()> {
    if aws.holder(stack).await?.as_ref() != Some(holder) {
        return Ok(());
    }
    let deleted = client(aws)
        .delete_parameter()
        .name(parameter(stack))
        .send()
        .await
        .map_err(during("ssm:DeleteParameter"));
    unless(ErrorKind::NotFound, deleted)
}
