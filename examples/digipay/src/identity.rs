//! The identity of this instance, from its environment.

use std::env;

/// The instance and its zone.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Its id, `local` if not set.
    pub(crate) instance: String,
    /// Its zone, `local` if not set.
    pub(crate) zone: String,
}

impl Identity {
    /// The identity in the environment.
    pub(crate) fn from_env() -> Self {
        let read = |name| {
            env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| "local".to_owned())
        };
        Self {
            instance: read("LANDFALL_INSTANCE_ID"),
            zone: read("LANDFALL_ZONE"),
        }
    }

    /// The identity as a JSON object, with the number of requests answered so far.
    pub(crate) fn to_json(&self, answered: u64) -> String {
        format!(
            "{{\"instance\":{},\"zone\":{},\"service\":\"digipay\",\"version\":\"{}\",\"answered\":{answered}}}\n",
            json_string(&self.instance),
            json_string(&self.zone),
            env!("CARGO_PKG_VERSION"),
        )
    }
}

/// A text as a JSON string (RFC 8259, section 7).
fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if u32::from(c) < 0x20 => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(json_string("i-1"), r#""i-1""#);
        assert_eq!(json_string("a\"b\\c\nd"), r#""a\"b\\c\u000ad""#);
    }

    #[test]
    fn the_json_names_instance_and_zone() {
        let identity = Identity {
            instance: "i-07".into(),
            zone: "ap-south-1a".into(),
        };
        assert_eq!(
            identity.to_json(3),
            format!(
                "{{\"instance\":\"i-07\",\"zone\":\"ap-south-1a\",\"service\":\"digipay\",\
                 \"version\":\"{}\",\"answered\":3}}\n",
                env!("CARGO_PKG_VERSION")
            )
        );
    }
}
