//! The JSON schema of the file, for editors.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::setting::{Field, Setting};
use super::{Config, overlay};

/// The schema of one table, key by key.
pub(crate) struct Table {
    description: String,
    keys: Map<String, Value>,
    needed: Vec<Value>,
}

impl Table {
    pub(crate) fn new(docs: &str) -> Self {
        Self {
            description: one_line(docs),
            keys: Map::new(),
            needed: Vec::new(),
        }
    }

    /// Adds a key. A key without a default is required; null is the default of an optional key.
    pub(crate) fn key(
        &mut self,
        name: &str,
        docs: &str,
        mut schema: Schema,
        default: Option<Value>,
    ) {
        schema.insert("description".to_owned(), one_line(docs).into());
        match default {
            None => self.needed.push(name.into()),
            // The default of a table follows from its keys.
            Some(Value::Null | Value::Object(_)) => {}
            Some(default) => {
                schema.insert("default".to_owned(), default);
            }
        }
        self.keys.insert(name.to_owned(), schema.to_value());
    }

    pub(crate) fn finish(self) -> Schema {
        let mut schema = json_schema!({
            "type": "object",
            "description": self.description,
            "properties": self.keys,
            "additionalProperties": false,
        });
        if !self.needed.is_empty() {
            schema.insert("required".to_owned(), self.needed.into());
        }
        schema
    }
}

fn one_line(docs: &str) -> String {
    docs.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl JsonSchema for Config {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "landfall.toml".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Self as Setting>::schema(&Field::top(), generator)
    }
}

/// The JSON schema of `landfall.toml`: draft 7, the newest that TOML editors support.
pub fn json_schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<Config>().to_value();
    let environment = overlay::schema(&schema);
    if let Some(top) = schema.as_object_mut() {
        let definitions = serde_json::json!({ "environment": environment });
        top.insert("definitions".to_owned(), definitions);
    }
    schema
}
