//! The plain types of values: for each, its reader and its JSON schema.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::Ipv4Net;
use landfall_compute::{LogGroup, SecretReference};
use landfall_container::{BuilderChoice, Platform};
use landfall_network::NatMode;
use landfall_provider::{Port, StackName};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value as Json, json};
use toml_span::Value;
use toml_span::value::ValueInner;

use super::fault::Diagnostic;
use super::hints;
use super::reading::Reading;
use crate::config::Region;

/// The place of a setting, with its limits.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// The path of the key: `service.web.port`.
    pub(crate) at: String,
    /// The minimum and the maximum of a number.
    pub(crate) range: Option<RangeInclusive<u32>>,
}

impl Field {
    /// The whole file.
    pub(crate) fn top() -> Self {
        Self {
            at: String::new(),
            range: None,
        }
    }

    /// A place inside this one, without limits.
    pub(crate) fn inside(&self, at: String) -> Self {
        Self { at, range: None }
    }
}

/// A type of values in the file.
pub(crate) trait Setting: Sized {
    /// Reads a value, or records a diagnostic.
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self>;

    /// The JSON schema for editors.
    fn schema(field: &Field, generator: &mut SchemaGenerator) -> Schema;

    /// The value as JSON, for the schema's default; null for a missing value.
    fn json(&self) -> Json;

    /// Records diagnostics beyond its type.
    fn check(&self, _field: &Field, _problems: &mut Vec<Diagnostic>) {}
}

/// Reads and parses a text.
pub(crate) fn parsed<T>(
    value: &mut Value<'_>,
    field: &Field,
    reading: &mut Reading,
    what: &str,
    hint: impl FnOnce(&str) -> Option<String>,
) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    let text = reading.text(value, &field.at, what)?;
    match text.parse() {
        Ok(good) => Some(good),
        Err(error) => {
            let mut problem = Diagnostic::new(&field.at, error);
            problem.hint = hint(&text);
            reading.fault(value.span, problem);
            None
        }
    }
}

impl Setting for String {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        reading.text(value, &field.at, "text in quotes")
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Setting for PathBuf {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        reading
            .text(value, &field.at, "a path in quotes")
            .map(Self::from)
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Setting for bool {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        match value.take() {
            ValueInner::Boolean(yes) => Some(yes),
            other => {
                let hint = matches!(other.as_str(), Some("true" | "false"))
                    .then(|| "write it without quotes".to_owned());
                reading.unfit(value.span, &field.at, "true or false", &other, hint);
                None
            }
        }
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Setting for u32 {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let range = field.range.clone().unwrap_or(0..=Self::MAX);
        let number = whole_number(value, field, reading)?;
        let fits = Self::try_from(number)
            .ok()
            .filter(|fits| range.contains(fits));
        if fits.is_none() {
            reading.fault(value.span, out_of_range(field, number, &range));
        }
        fits
    }

    fn schema(field: &Field, _: &mut SchemaGenerator) -> Schema {
        let range = field.range.clone().unwrap_or(0..=Self::MAX);
        json_schema!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
    }

    fn json(&self) -> Json {
        json!(self)
    }

    fn check(&self, field: &Field, problems: &mut Vec<Diagnostic>) {
        if let Some(range) = field.range.as_ref().filter(|range| !range.contains(self)) {
            problems.push(out_of_range(field, i64::from(*self), range));
        }
    }
}

fn whole_number(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<i64> {
    match value.take() {
        ValueInner::Integer(number) => Some(number),
        other => {
            let hint = other
                .as_str()
                .filter(|text| text.parse::<i64>().is_ok())
                .map(|text| format!("write {text} without quotes"));
            reading.unfit(value.span, &field.at, "a whole number", &other, hint);
            None
        }
    }
}

fn out_of_range(field: &Field, number: i64, range: &RangeInclusive<u32>) -> Diagnostic {
    let key = field.at.rsplit('.').next().unwrap_or(&field.at);
    Diagnostic::new(
        &field.at,
        format_args!(
            "`{key}` is {} to {}, not {number}",
            range.start(),
            range.end()
        ),
    )
}

impl Setting for Port {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let number = whole_number(value, field, reading)?;
        let port = u16::try_from(number)
            .ok()
            .and_then(|number| Self::new(number).ok());
        if port.is_none() {
            let message = format!("{number} is not a port; ports are 1 to 65535");
            reading.fault(value.span, Diagnostic::new(&field.at, message));
        }
        port
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": u16::MAX })
    }

    fn json(&self) -> Json {
        json!(self.get())
    }
}

/// The rule of [`StackName`] and `ResourceName` as a pattern, for editors. The type defines the maximum length.
pub(crate) const LABEL: &str = "^[a-z](-?[a-z0-9])*$";

impl Setting for StackName {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        parsed(value, field, reading, "a name in quotes", |text| {
            let label = hints::as_label(text, 24)?;
            Some(format!("`{label}` would do"))
        })
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": LABEL, "maxLength": 24 })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Setting for Ipv4Net {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let text = reading.text(value, &field.at, "an address block in quotes")?;
        let net = text.parse().ok();
        if net.is_none() {
            let problem = Diagnostic::new(&field.at, format_args!("`{text}` is not an IPv4 block"));
            reading.fault(value.span, problem.hint(hints::for_cidr(&text)));
        }
        net
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$" })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Setting for Region {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        parsed(value, field, reading, "a region in quotes", |text| {
            let region = text.strip_suffix(|c: char| c.is_ascii_lowercase())?;
            let region = Self::new(region).ok()?;
            Some(format!("`{text}` is a zone; its region is `{region}`"))
        })
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z]+(-[a-z]+)*-[0-9]+$", "maxLength": 24 })
    }

    fn json(&self) -> Json {
        json!(self.as_str())
    }
}

impl Setting for SecretReference {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let what = "where a secret is kept, in quotes";
        parsed(value, field, reading, what, |text| {
            Some(hints::for_secret(text))
        })
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(ssm|secretsmanager):[^#]+(#.+)?$" })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Setting for LogGroup {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        parsed(
            value,
            field,
            reading,
            "a log group's name in quotes",
            |_| None,
        )
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[-_/.#A-Za-z0-9]+$", "maxLength": 512 })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Setting for Platform {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let platform: Self = parsed(value, field, reading, "a platform in quotes", |_| None)?;
        if platform.os == "linux" {
            return Some(platform);
        }
        let problem = format!("\"{platform}\" cannot run: instances run Linux");
        let mut problem = Diagnostic::new(&field.at, problem);
        problem.hint = Some(format!("write \"linux/{}\"", platform.arch));
        reading.fault(value.span, problem);
        None
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["linux/amd64", "linux/arm64"] })
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

/// Implements the reader of an enum: one word per variant.
macro_rules! words {
    ($name:ty, $what:literal: $($word:literal = $variant:path),+ $(,)?) => {
        impl $crate::config::setting::Setting for $name {
            fn read(
                value: &mut toml_span::Value<'_>,
                field: &$crate::config::setting::Field,
                reading: &mut $crate::config::reading::Reading,
            ) -> Option<Self> {
                let text = reading.text(value, &field.at, $what)?;
                match text.as_str() {
                    $($word => Some($variant),)+
                    _ => {
                        let message = format!("`{text}` is not {}", $what);
                        let problem = $crate::config::fault::Diagnostic::new(&field.at, message);
                        let hint = $crate::config::hints::for_word(&text, &[$($word),+]);
                        reading.fault(value.span, problem.hint(hint));
                        None
                    }
                }
            }

            fn schema(_: &$crate::config::setting::Field, _: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),+] })
            }

            fn json(&self) -> serde_json::Value {
                serde_json::json!(match self { $($variant => $word),+ })
            }
        }
    };
}

words!(NatMode, "a NAT mode": "per-zone" = NatMode::PerZone, "single" = NatMode::Single, "none" = NatMode::None);
words!(
    BuilderChoice, "a builder":
    "auto" = BuilderChoice::Auto, "engine" = BuilderChoice::Engine, "daemonless" = BuilderChoice::Daemonless,
);

pub(crate) use words;
