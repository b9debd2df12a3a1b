//! The limits of a service in the file: sizes such as `"512 MiB"`, and shares of processors such as `0.5`.

use landfall_compute::{ByteSize, CpuShare};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value as Json, json};
use toml_span::Value;
use toml_span::value::ValueInner;

use super::fault::Diagnostic;
use super::reading::Reading;
use super::setting::{Field, Setting};

/// The minimum and the maximum size: below it, no container starts; above it, no machine exists.
const SMALLEST: ByteSize = ByteSize::mib(16);
const LARGEST: ByteSize = ByteSize::mib(16 << 20);

impl Setting for ByteSize {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let what = "a size in quotes, such as \"512 MiB\"";
        let key = field.at.rsplit('.').next().unwrap_or(&field.at);
        let text = match value.take() {
            ValueInner::String(text) => text.into_owned(),
            other => {
                let hint = match other {
                    ValueInner::Integer(number @ 1..) => {
                        format!("write the unit: {key} = \"{number} MiB\"")
                    }
                    _ => format!("write {key} = \"512 MiB\""),
                };
                reading.unfit(value.span, &field.at, what, &other, Some(hint));
                return None;
            }
        };
        match text.parse::<Self>() {
            Ok(size) if (SMALLEST..=LARGEST).contains(&size) => Some(size),
            Ok(size) => {
                reading.fault(value.span, out_of_range(field, size));
                None
            }
            Err(error) => {
                let meant = meant(&text).unwrap_or_else(|| "512 MiB".to_owned());
                let problem = Diagnostic::new(&field.at, error);
                reading.fault(
                    value.span,
                    problem.hint(format_args!("write {key} = \"{meant}\"")),
                );
                None
            }
        }
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|TiB)$",
            "examples": ["512 MiB", "2 GiB"],
        })
    }

    fn json(&self) -> Json {
        json!(self)
    }

    fn check(&self, field: &Field, problems: &mut Vec<Diagnostic>) {
        if !(SMALLEST..=LARGEST).contains(self) {
            problems.push(out_of_range(field, *self));
        }
    }
}

fn out_of_range(field: &Field, size: ByteSize) -> Diagnostic {
    let key = field.at.rsplit('.').next().unwrap_or(&field.at);
    Diagnostic::new(
        &field.at,
        format_args!("`{key}` is {SMALLEST} to {LARGEST}, not {size}"),
    )
}

/// The probable meaning of a size in another notation: `512m`, `1G`, `2 gb`, `1.5 GiB`.
fn meant(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "ki" | "kib" => "KiB",
        "m" | "mb" | "mi" | "mib" => "MiB",
        "g" | "gb" | "gi" | "gib" => "GiB",
        "t" | "tb" | "ti" | "tib" => "TiB",
        _ => return None,
    };
    let (number, unit) = match (number.split_once('.'), unit) {
        (None, _) => (number.to_owned(), unit),
        (Some((whole, "5")), "GiB") => {
            let whole: u32 = whole.parse().ok()?;
            (
                whole.checked_mul(1024)?.checked_add(512)?.to_string(),
                "MiB",
            )
        }
        (Some(_), _) => return None,
    };
    let meant = format!("{number} {unit}");
    meant.parse::<ByteSize>().ok().map(|_| meant)
}

impl Setting for CpuShare {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let text = match value.take() {
            ValueInner::Integer(number) => number.to_string(),
            ValueInner::Float(number) => number.to_string(),
            other => {
                let hint = match other.as_str().map(str::parse::<f64>) {
                    Some(Ok(number)) => format!("write {number} without quotes"),
                    _ => "0.5 is half of a processor, 2 are two".to_owned(),
                };
                let what = "a number of processors";
                reading.unfit(value.span, &field.at, what, &other, Some(hint));
                return None;
            }
        };
        match text.parse() {
            Ok(share) => Some(share),
            Err(error) => {
                let problem = Diagnostic::new(&field.at, error);
                let hint = "0.5 is half of a processor, 2 are two";
                reading.fault(value.span, problem.hint(hint));
                None
            }
        }
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0.01, "maximum": 1024, "examples": [0.5, 2] })
    }

    fn json(&self) -> Json {
        json!(f64::from(self.thousandths()) / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, refused};
    use super::super::{Config, Service};
    use super::*;

    fn service(line: &str) -> Service {
        let config = Config::parse(&format!("{GOOD}{line}\n"), "landfall.toml").unwrap();
        config.service.into_values().next().unwrap()
    }

    #[test]
    fn good_values() {
        assert_eq!(service("").limits(), landfall_compute::Limits::default());
        assert_eq!(
            service("memory = '1 GiB'").memory,
            Some(ByteSize::mib(1024))
        );
        assert_eq!(service("disk = '16MiB'").disk, Some(ByteSize::mib(16)));
        for (line, thousandths) in [("cpu = 0.5", 500), ("cpu = 2", 2000), ("cpu = 1.25", 1250)] {
            assert_eq!(
                service(line).cpu.map(CpuShare::thousandths),
                Some(thousandths)
            );
        }
        assert_eq!(service("processes = 16").processes, Some(16));
    }

    #[test]
    fn bad_values_name_their_line_and_the_remedy() {
        for (line, fault, hint) in [
            (
                "memory = 512",
                "`memory` is a number here",
                "memory = \"512 MiB\"",
            ),
            (
                "memory = '512m'",
                "`512m` is not a size",
                "memory = \"512 MiB\"",
            ),
            (
                "memory = '1.5 GB'",
                "`1.5 GB` is not a size",
                "memory = \"1536 MiB\"",
            ),
            ("disk = '2G'", "`2G` is not a size", "disk = \"2 GiB\""),
            (
                "disk = 'much'",
                "`much` is not a size",
                "disk = \"512 MiB\"",
            ),
            (
                "disk = true",
                "`disk` is true or false here",
                "disk = \"512 MiB\"",
            ),
            (
                "memory = '1 MiB'",
                "`memory` is 16 MiB to 16 TiB, not 1 MiB",
                "",
            ),
            (
                "disk = '17 TiB'",
                "`disk` is 16 MiB to 16 TiB, not 17 TiB",
                "",
            ),
            ("cpu = 0", "`0` is not a share of processors", "0.5 is half"),
            ("cpu = -0.5", "`-0.5` is not a share", "0.5 is half"),
            ("cpu = nan", "`NaN` is not a share", "0.5 is half"),
            (
                "cpu = '0.5'",
                "`cpu` is text here",
                "write 0.5 without quotes",
            ),
            ("cpu = '50%'", "`cpu` is text here", "0.5 is half"),
            ("processes = 4", "`processes` is 16 to 1000000, not 4", ""),
        ] {
            let text = refused(&format!("{GOOD}{line}\n"));
            assert!(text.contains("landfall.toml:4:"), "{text}");
            assert!(text.contains(fault), "{line}: {text}");
            assert!(text.contains(hint), "{line}: {text}");
        }
    }
}
