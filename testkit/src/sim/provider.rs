//! The operations of the simulation: their effect, their duration, and their faults.

use std::time::Duration;

use async_trait::async_trait;
use landfall_provider::{
    Error, ErrorKind, Key, Kind, Live, Probe, Provider, Resource, Result, StackName,
};
use serde::Deserialize;
use tokio::time::Instant;

use super::state::{Ending, Held};
use super::{Call, Cut, Fault, Line, Sim, State};

/// A call before its start.
struct Making {
    verb: &'static str,
    kind: Kind,
    what: String,
    takes: Duration,
}

impl Sim {
    /// A call: logged, counted, with a duration, half of it before its effect and half of it after.
    async fn call<T>(
        &self,
        making: Making,
        effect: impl FnOnce(&mut State) -> Result<T> + Send,
    ) -> Result<T> {
        let Making {
            verb,
            kind,
            what,
            takes,
        } = making;
        if !self.is_heard() {
            return std::future::pending().await;
        }
        let (number, fault, let_through, cut) = {
            let mut state = self.state();
            let number = state.calls.len();
            state.calls.push(Call {
                at: self.since_began(),
                verb,
                what,
                answered: None,
                error: None,
            });
            let let_through = state.bucket.as_mut().is_none_or(|bucket| bucket.take());
            let fault = state.faults.next(verb, &kind);
            let cut = state.cut.filter(|(at, _)| *at == number);
            (number, fault, let_through, cut.map(|(_, cut)| cut))
        };
        let _busy = Busy::new(self);
        match cut {
            Some(Cut::Before) => return self.hang_up(Line::Cut).await,
            // This call also takes effect.
            Some(Cut::Landing) => {
                self.line.send_replace(Line::Closing);
            }
            Some(Cut::After) | None => {}
        }
        tokio::time::sleep(takes / 2).await;
        let outcome = match fault {
            _ if !let_through => Err(Error::new(ErrorKind::Throttled, "too many calls")),
            Some(Fault::Refuse(kind)) => Err(Error::new(kind, "refused by the simulation")),
            Some(Fault::RefuseFor(time)) => Err(Error::new(
                ErrorKind::Unavailable,
                "refused by the simulation for now",
            )
            .passes_within(time)),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Panic) => panic!("a simulated mistake"),
            Some(Fault::LoseAnswer | Fault::HangAfter) | None => effect(&mut self.state()),
        };
        if cut == Some(Cut::After) {
            return self.hang_up(Line::Cut).await;
        }
        tokio::time::sleep(takes - takes / 2).await;
        let outcome = match fault {
            _ if !self.is_heard() => std::future::pending().await,
            Some(Fault::HangAfter) => std::future::pending().await,
            Some(Fault::LoseAnswer) => {
                Err(Error::new(ErrorKind::Unavailable, "the answer was lost"))
            }
            _ => outcome,
        };
        let mut state = self.state();
        if let Some(call) = state.calls.get_mut(number) {
            call.answered = Some(self.since_began());
            call.error = outcome.as_ref().err().map(Error::kind);
        }
        outcome
    }

    /// A call about a subject outside the simulation, such as a lock or the health of targets: it
    /// is logged, takes no time, and its caller can be cut off at it as at any other call.
    pub async fn aside<T>(&self, verb: &'static str, effect: impl FnOnce() -> T) -> T {
        if !self.is_heard() {
            return std::future::pending().await;
        }
        let cut = {
            let mut state = self.state();
            let number = state.calls.len();
            let now = self.since_began();
            state.calls.push(Call {
                at: now,
                verb,
                what: String::new(),
                answered: Some(now),
                error: None,
            });
            let cut = state.cut.filter(|(at, _)| *at == number);
            cut.map(|(_, cut)| cut)
        };
        match cut {
            None => effect(),
            Some(Cut::Before) => self.hang_up(Line::Cut).await,
            Some(Cut::After) => {
                effect();
                self.hang_up(Line::Cut).await
            }
            Some(Cut::Landing) => {
                effect();
                self.hang_up(Line::Closing).await
            }
        }
    }

    fn is_heard(&self) -> bool {
        *self.line.borrow() == Line::Open
    }

    /// The caller gets no answer.
    async fn hang_up<T>(&self, line: Line) -> T {
        self.line.send_replace(line);
        std::future::pending().await
    }

    /// An ordinary call on a resource of this kind.
    fn usual(&self, verb: &'static str, kind: Kind, what: String) -> Making {
        Making {
            verb,
            kind,
            what,
            takes: self.latency,
        }
    }
}

/// Counts a call as in flight, however it ends.
struct Busy<'a>(&'a Sim);

impl<'a> Busy<'a> {
    fn new(sim: &'a Sim) -> Self {
        let mut state = sim.state();
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        Self(sim)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}

fn spec_mismatch(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "the simulation has no fitting JSON for this kind",
    )
    .caused_by(error)
}

fn gone() -> Error {
    Error::new(ErrorKind::NotFound, "it is not there")
}

#[async_trait]
impl<R: Resource> Provider<R> for Sim {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<R>>> {
        let call = self.usual("list", R::KIND, R::KIND.to_string());
        let listed = self.call(call, |state| {
            let now = Instant::now();
            let kind = R::KIND;
            let of_kind = state.things.of_kind(&kind);
            let of_stack = of_kind
                .filter(|(_, held)| held.stack == *stack && held.is_seen(now) && !held.untagged);
            of_stack
                .map(|((kind, id), held)| {
                    Ok(Live {
                        id: R::Id::from(id.clone()),
                        name: held.key.name.clone(),
                        spec: R::deserialize(&held.spec).map_err(spec_mismatch)?,
                        state: self.probe_of(kind, held).try_map(|output| {
                            R::Output::deserialize(output).map_err(spec_mismatch)
                        })?,
                    })
                })
                .collect()
        });
        listed.await
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &R) -> Result<R::Id> {
        let spec = serde_json::to_value(desired).map_err(spec_mismatch)?;
        let began = Instant::now();
        let (takes, until_usable) = self.making(key);
        let call = Making {
            takes,
            ..self.usual("create", R::KIND, key.to_string())
        };
        let created = self.call(call, |state| {
            let under = state.things.under(stack, key);
            let same = under.iter().find(|(_, held)| {
                held.spec == spec && held.stays() && held.failed.is_none() && !held.untagged
            });
            if let Some(((_, id), _)) = same {
                return Ok(R::Id::from(id.clone()));
            }
            if self.unique.contains(&R::KIND) && !under.is_empty() {
                let why = format!("there is a {key} already");
                return Err(Error::new(ErrorKind::AlreadyExists, why));
            }
            self.within_quota(&state.things, &R::KIND)?;
            let resolved_refs = state.things.resolved_refs(desired)?;
            let claims = desired.claims();
            state.things.nobody_claims(&claims, &resolved_refs, None)?;
            let held = Held {
                stack: stack.clone(),
                key: key.clone(),
                spec,
                resolved_refs,
                claims,
                gate: R::GATE,
                retention: R::RETENTION,
                after: R::AFTER,
                visible_at: Instant::now() + self.lag,
                usable_at: began + until_usable,
                ending: None,
                failed: self.fails.get(key).cloned(),
                untagged: false,
            };
            Ok(R::Id::from(state.things.add(R::KIND, held)))
        });
        created.await
    }

    async fn update(&self, live: &Live<R>, desired: &R) -> Result<()> {
        let spec = serde_json::to_value(desired).map_err(spec_mismatch)?;
        let key = Key::new(R::KIND, live.name.clone());
        let took = self
            .dice
            .draw(self.times_of(&R::KIND).update, &key, "update");
        let call = self.usual("update", R::KIND, key.to_string());
        let updated = self.call(call, |state| {
            let id = (R::KIND, live.id.to_string());
            state
                .things
                .get(&id)
                .filter(|held| held.stays())
                .ok_or_else(gone)?;
            let resolved_refs = state.things.resolved_refs(desired)?;
            let claims = desired.claims();
            state
                .things
                .nobody_claims(&claims, &resolved_refs, Some(&id))?;
            state.things.change(&id, spec, resolved_refs, claims);
            if let Some(held) = state.things.get_mut(&id) {
                held.usable_at = held.usable_at.max(Instant::now() + took);
            }
            Ok(())
        });
        updated.await
    }

    async fn probe(&self, id: &R::Id) -> Result<Probe<R::Output>> {
        let call = self.usual("probe", R::KIND, id.to_string());
        let probed = self.call(call, |state| {
            let now = Instant::now();
            let held = state.things.get(&(R::KIND, id.to_string()));
            match held.filter(|held| held.is_seen(now)) {
                None => Ok(Probe::Absent),
                Some(held) => self
                    .probe_of(&R::KIND, held)
                    .try_map(|output| R::Output::deserialize(output).map_err(spec_mismatch)),
            }
        });
        probed.await
    }

    async fn delete(&self, live: &Live<R>) -> Result<()> {
        let key = Key::new(R::KIND, live.name.clone());
        let (takes, lingers) = self.ending(&key);
        let gone_at = Instant::now() + takes;
        let free_at = gone_at + lingers;
        let call = self.usual("delete", R::KIND, key.to_string());
        let deleted = self.call(call, |state| {
            let id = (R::KIND, live.id.to_string());
            let Some(held) = state.things.get(&id).filter(|held| held.stays()) else {
                return Ok(());
            };
            if let Some(user) = state.things.user(&id, &held.stack) {
                let what = match user.is_gone(Instant::now()) {
                    true => "what is left of ",
                    false => "",
                };
                let why = format!("{what}{} still uses it", user.key);
                return Err(Error::new(ErrorKind::InUse, why));
            }
            state.things.end(&id, Ending { gone_at, free_at });
            Ok(())
        });
        deleted.await
    }
}
