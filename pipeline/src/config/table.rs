//! The macro by which a table of the file is declared once: as a struct, with its keys, defaults and ranges.

/// Declares a table of the file.
///
/// Every field is a key, in kebab case. `Needed(…)` is a required key; the value in the parentheses
/// replaces it while the rest of an invalid file is checked. `Default(…)` is an optional key. The range of
/// a number follows after `in`; fields after `beside` are no keys. The struct, the reader, the schema and the
/// check are generated from this declaration; the table's `Rules` check the rest.
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        pub struct $table:ident {
            $(
                $(#[doc = $field_doc:literal])*
                pub $field:ident: $type:ty = $presence:ident($value:expr) $(in $range:expr)?,
            )+
        }
        $(beside {
            $(
                $(#[doc = $beside_doc:literal])*
                pub $beside:ident: $beside_type:ty = $beside_value:expr
            ),+
        })?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $table {
            $($(#[doc = $field_doc])* pub $field: $type,)+
            $($($(#[doc = $beside_doc])* pub $beside: $beside_type,)+)?
        }

        impl $table {
            /// All keys with their defaults, and placeholders for the required ones.
            fn blank() -> Self {
                Self { $($field: $value,)+ $($($beside: $beside_value,)+)? }
            }

            fn in_the_file(field: &str) -> String {
                field.replace('_', "-")
            }

            $(
                fn $field(table: &str) -> $crate::config::setting::Field {
                    $crate::config::setting::Field {
                        at: $crate::config::reading::join(table, &Self::in_the_file(stringify!($field))),
                        range: None $(.or(Some($range)))?,
                    }
                }
            )+
        }

        impl $crate::config::setting::Setting for $table {
            fn read(
                value: &mut toml_span::Value<'_>,
                field: &$crate::config::setting::Field,
                reading: &mut $crate::config::reading::Reading,
            ) -> Option<Self> {
                let at = &field.at;
                let mut table = reading.table(value, at, "a table")?;
                let mut read = Self::blank();
                $(
                    let field = Self::$field(at);
                    match table.remove(Self::in_the_file(stringify!($field)).as_str()) {
                        Some(mut value) => {
                            if let Some(value) = $crate::config::setting::Setting::read(&mut value, &field, reading) {
                                read.$field = value;
                            }
                        }
                        None => {
                            if let $crate::config::table::Presence::Needed = $crate::config::table::Presence::$presence {
                                reading.missing(&field.at, at);
                            }
                        }
                    }
                )+
                reading.refuse_unknown(table, at, &[$(Self::in_the_file(stringify!($field))),+]);
                Some(read)
            }

            fn schema(_: &$crate::config::setting::Field, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut schema = $crate::config::schema::Table::new(concat!($($doc, "\n"),*));
                let blank = Self::blank();
                $(
                    let field = Self::$field("");
                    let needed = matches!(
                        $crate::config::table::Presence::$presence,
                        $crate::config::table::Presence::Needed
                    );
                    schema.key(
                        &field.at,
                        concat!($($field_doc, "\n"),*),
                        <$type as $crate::config::setting::Setting>::schema(&field, generator),
                        (!needed).then(|| $crate::config::setting::Setting::json(&blank.$field)),
                    );
                )+
                schema.finish()
            }

            fn json(&self) -> serde_json::Value {
                let mut table = serde_json::Map::new();
                $(
                    let value = $crate::config::setting::Setting::json(&self.$field);
                    table.insert(Self::in_the_file(stringify!($field)), value);
                )+
                table.into()
            }

            fn check(&self, field: &$crate::config::setting::Field, problems: &mut Vec<$crate::config::fault::Diagnostic>) {
                let at = &field.at;
                $($crate::config::setting::Setting::check(&self.$field, &Self::$field(at), problems);)+
                $crate::config::rules::Rules::rules(self, at, problems);
            }
        }
    };
}

/// Whether a key is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is required.
    Needed,
    /// It is optional.
    Default,
}

/// Implements the default of tables whose keys all have defaults or placeholders.
macro_rules! defaults {
    ($($table:ty),+) => {
        $(
            impl Default for $table {
                fn default() -> Self {
                    Self::blank()
                }
            }
        )+
    };
}

pub(crate) use {defaults, table};
