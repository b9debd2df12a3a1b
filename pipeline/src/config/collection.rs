//! Composite types of values: optional values, lists, and tables of names.

use std::collections::BTreeMap;
use std::fmt::Display;

use landfall_provider::ResourceName;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value as Json, json};
use toml_span::Value;
use toml_span::value::ValueInner;

use super::fault::Diagnostic;
use super::hints;
use super::reading::{Reading, join};
use super::setting::{Field, LABEL, Setting};

impl<T: Setting> Setting for Option<T> {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        T::read(value, field, reading).map(Some)
    }

    fn schema(field: &Field, generator: &mut SchemaGenerator) -> Schema {
        T::schema(field, generator)
    }

    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Setting::json)
    }

    fn check(&self, field: &Field, problems: &mut Vec<Diagnostic>) {
        if let Some(value) = self {
            value.check(field, problems);
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        match value.take() {
            ValueInner::Array(elements) => {
                let mut all = Some(Self::new());
                for (index, mut element) in elements.into_iter().enumerate() {
                    let place = field.inside(format!("{}[{index}]", field.at));
                    reading.place(&place.at, element.span);
                    let read = T::read(&mut element, &place, reading);
                    all = all.zip(read).map(|(mut all, read)| {
                        all.push(read);
                        all
                    });
                }
                if all.is_none() {
                    reading.incomplete(&field.at);
                }
                all
            }
            other => {
                let hint = other.as_str().map(|text| format!("write [\"{text}\"]"));
                reading.unfit(value.span, &field.at, "a list", &other, hint);
                None
            }
        }
    }

    fn schema(field: &Field, generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": T::schema(field, generator) })
    }

    fn json(&self) -> Json {
        self.iter().map(Setting::json).collect()
    }

    fn check(&self, field: &Field, problems: &mut Vec<Diagnostic>) {
        for (index, value) in self.iter().enumerate() {
            value.check(&field.inside(format!("{}[{index}]", field.at)), problems);
        }
    }
}

/// The type of a name in a table of names.
pub(crate) trait Name: Ord + Clone + Display {
    /// Checks the name.
    fn read(text: &str) -> Result<Self, Diagnostic>;
    /// The rule as a pattern, if there is one.
    const PATTERN: Option<&'static str>;
}

impl Name for String {
    fn read(text: &str) -> Result<Self, Diagnostic> {
        Ok(text.to_owned())
    }
    const PATTERN: Option<&'static str> = None;
}

impl Name for ResourceName {
    fn read(text: &str) -> Result<Self, Diagnostic> {
        Self::new(text).map_err(|error| {
            let mut problem = Diagnostic::new("", error);
            problem.hint = hints::as_label(text, 63).map(|label| format!("`{label}` would do"));
            problem
        })
    }
    const PATTERN: Option<&'static str> = Some(LABEL);
}

impl<K: Name, V: Setting> Setting for BTreeMap<K, V> {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let table = reading.table(value, &field.at, "a table of names")?;
        let mut all = Self::new();
        for (key, mut value) in table {
            let at = join(&field.at, &key.name);
            reading.place(&at, key.span);
            let name = K::read(&key.name).map_err(|mut problem| {
                problem.at = vec![at.clone()];
                reading.fault(key.span, problem);
            });
            let read = V::read(&mut value, &field.inside(at), reading);
            match (name, read) {
                (Ok(name), Some(read)) => {
                    all.insert(name, read);
                }
                _ => reading.incomplete(&field.at),
            }
        }
        // Valid parts are checked further; the diagnostics prevent their use.
        Some(all)
    }

    fn schema(field: &Field, generator: &mut SchemaGenerator) -> Schema {
        let values = V::schema(field, generator);
        match K::PATTERN {
            None => json_schema!({ "type": "object", "additionalProperties": values }),
            Some(pattern) => json_schema!({
                "type": "object",
                "patternProperties": { pattern: values },
                "additionalProperties": false,
            }),
        }
    }

    fn json(&self) -> Json {
        self.iter()
            .map(|(name, value)| (name.to_string(), value.json()))
            .collect()
    }

    fn check(&self, field: &Field, problems: &mut Vec<Diagnostic>) {
        for (name, value) in self {
            value.check(&field.inside(join(&field.at, &name.to_string())), problems);
        }
    }
}

/// Shell commands that run in sequence. In the file: a string, or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands(pub Vec<String>);

impl Setting for Commands {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        if value.as_array().is_some() {
            return Vec::read(value, field, reading).map(Self);
        }
        let one = reading.text(value, &field.at, "a command in quotes or a list of them")?;
        Some(Self(vec![one]))
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }

    fn json(&self) -> Json {
        json!(self.0)
    }
}
