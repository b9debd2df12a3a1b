//! The operations of single instances.

use async_trait::async_trait;
use landfall_compute::{SingleInstance, SingleProvider};
use landfall_provider::{Error, ErrorKind, InstanceId, Port, Result};
use serde_json::Value;

use super::Local;
use crate::wire::Call;

#[async_trait]
impl SingleProvider for Local {
    /// The local provider publishes one port of an instance: that of its container.
    async fn standing(&self, instance: &InstanceId, _: Port) -> Result<Option<SingleInstance>> {
        let call = Call::Standing {
            instance: instance.clone(),
        };
        Ok(self.ask(call).await?.flatten())
    }

    async fn stop(&self, instance: &InstanceId) -> Result<()> {
        self.instruct(Call::StopInstance {
            instance: instance.clone(),
        })
        .await
    }

    async fn start(&self, instance: &InstanceId) -> Result<()> {
        self.instruct(Call::StartInstance {
            instance: instance.clone(),
        })
        .await
    }
}

impl Local {
    async fn instruct(&self, call: Call) -> Result<()> {
        let done: Option<Value> = self.ask(call).await?;
        done.map(drop)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no local cloud"))
    }
}
