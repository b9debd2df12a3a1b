//! The values of secrets, from the client to a container's environment.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The prefix of variables that give the value of a secret, in the environment of a client.
pub(crate) const SECRET: &str = "LANDFALL_SECRET_";

/// The values of a workload's secrets, by the variable of the container.
///
/// **Invariant:** no output and no list contains the values: they are sent beside a spec, never in it, and
/// [`Debug`] shows only the names.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Adds the values to an environment.
    pub(crate) fn add_to(&self, env: &mut BTreeMap<String, String>) {
        env.extend(self.0.clone());
    }
}

impl FromIterator<(String, String)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(secrets: I) -> Self {
        Self(secrets.into_iter().collect())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_to_the_container_and_not_shown() {
        let secrets: Secrets = [("URL".to_owned(), "hunter2".to_owned())]
            .into_iter()
            .collect();
        assert_eq!(format!("{secrets:?}"), "{\"URL\"}");
        let mut env = BTreeMap::new();
        secrets.add_to(&mut env);
        assert_eq!(env["URL"], "hunter2");
    }
}
