//! One change to a stack at a time: a parameter in SSM's Parameter Store that is created without overwriting.
//!
//! No state backend needs maintenance, and the parameter's value names the holder of the lock. The
//! parameter is not part of the stack: it exists only during a run.

use async_trait::async_trait;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{ParameterType, Tag};
use landfall_provider::{
    Attempt, Error, ErrorKind, Holder, Left, LockGuard, Result, StackLock, StackName,
};

use crate::call::during;
use crate::outcome::{if_there, unless};
use crate::session::Aws;
use crate::tags::OWNER_STACK;

/// The number of attempts to take a lock that is free at every look and taken at every attempt.
const TRIES: usize = 3;

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
        for _ in 0..TRIES {
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
                Ok(_) => return Ok(Attempt::Taken(self.guard(stack))),
                // Taken by somebody else, or by this very call, whose first answer was lost.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if *error.left_behind() == Left::Unknown => {}
                Err(error) => return Err(error),
            }
            match self.holder(stack).await? {
                Some(other) if other == *holder => return Ok(Attempt::Taken(self.guard(stack))),
                Some(other) => return Ok(Attempt::Busy(other)),
                // Released in the meantime.
                None => {}
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format_args!("the lock of {stack} could not be taken, and nobody has it"),
        ))
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
        if self.holder(stack).await?.as_ref() == Some(holder) {
            release(self, stack).await?;
        }
        Ok(())
    }
}

impl Aws {
    fn guard(&self, stack: &StackName) -> LockGuard {
        let (aws, stack) = (self.clone(), stack.clone());
        LockGuard::with_release(async move { release(&aws, &stack).await })
    }
}

async fn release(aws: &Aws, stack: &StackName) -> Result<()> {
    let deleted = client(aws)
        .delete_parameter()
        .name(parameter(stack))
        .send()
        .await
        .map_err(during("ssm:DeleteParameter"));
    unless(ErrorKind::NotFound, deleted)
}
