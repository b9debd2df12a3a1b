//! Hides secrets: values of the environment and of build arguments that look like secrets.
//!
//! Secrets should be references. This protects those that are in the file anyway.

use serde_json::Value;

/// The replacement of a hidden value.
const HIDDEN: &str = "(hidden)";

/// The tables with arbitrary values of the user.
const TABLES: [&str; 2] = ["env", "args"];

/// The parts of names that mark secrets.
const TELLING: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "APIKEY",
    "API_KEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
];

/// The value at this path, without values that look like secrets.
pub(crate) fn concealed(path: &str, value: &Value) -> Value {
    let mut names = path.rsplit('.');
    let (name, table) = (names.next().unwrap_or_default(), names.next());
    match value {
        Value::String(text)
            if table.is_some_and(|table| TABLES.contains(&table)) && is_secret(name, text) =>
        {
            HIDDEN.into()
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                let value = concealed(&format!("{path}.{name}"), value);
                (name.clone(), value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(elements) => elements
            .iter()
            .map(|element| concealed(path, element))
            .collect(),
        other => other.clone(),
    }
}

/// A secret by its name, or a URL with a password: `postgres://ana:pw@db/shop`.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let by_name = TELLING.iter().any(|part| name.contains(part))
        || ["_PASS", "_PWD", "_KEY"]
            .iter()
            .any(|end| name.ends_with(end));
    let user = value
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .and_then(|authority| authority.rsplit_once('@'));
    by_name || user.is_some_and(|(user, _)| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_hidden_and_nothing_else() {
        let env = json!({
            "LOG": "info",
            "DB_PASSWORD": "hunter2",
            "stripe_api_key": "sk_1",
            "SIGNING_KEY": "k",
            "DATABASE_URL": "postgres://ana:hunter2@db:5432/shop",
            "HOME_URL": "https://shop.example/a:b@c",
            "KEYBOARD": "de",
        });
        let spec = json!({"workload": {"env": env, "port": 8000}, "password": "no environment"});
        let shown = concealed("", &spec);
        let env = &shown["workload"]["env"];
        for name in [
            "DB_PASSWORD",
            "stripe_api_key",
            "SIGNING_KEY",
            "DATABASE_URL",
        ] {
            assert_eq!(env[name], "(hidden)", "{name}");
        }
        for (name, value) in [("LOG", "info"), ("KEYBOARD", "de")] {
            assert_eq!(env[name], value);
        }
        assert_eq!(env["HOME_URL"], "https://shop.example/a:b@c");
        assert_eq!(shown["workload"]["port"], 8000);
        assert_eq!(shown["password"], "no environment");
    }

    #[test]
    fn a_single_field_is_hidden_by_its_path() {
        assert_eq!(
            concealed("workload.env.TOKEN", &json!("t")),
            json!("(hidden)")
        );
        assert_eq!(
            concealed("workload.env", &json!({"TOKEN": "t"}))["TOKEN"],
            "(hidden)"
        );
        assert_eq!(
            concealed("build_spec.args.NPM_TOKEN", &json!("t")),
            json!("(hidden)")
        );
    }
}
