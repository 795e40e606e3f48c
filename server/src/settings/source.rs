//! The environment as a source, and values of any source in the form that keys take.

use std::collections::BTreeMap;
use std::ffi::OsString;

use config::{ConfigError, Map, Source, Value, ValueKind};
use kalamdb_commons::settings::SettingValue;

use super::SettingsError;

/// Every variable of ours begins with it.
const PREFIX: &str = "KALAMDB__";
/// How an environment variable's origin begins; values of files have none.
const ORIGIN: &str = "environment variable ";

/// The environment variables `KALAMDB__SECTION__KEY`.
///
/// `config` has a source of that kind, but it does not say which variable a value came from.
#[derive(Debug, Clone)]
pub(super) struct EnvironmentSource {
    variables: BTreeMap<String, String>,
}

impl EnvironmentSource {
    /// Takes our variables of `environment`.
    pub(super) fn collect_from(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut variables = BTreeMap::new();
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let value = value.into_string().map_err(|_| {
                SettingsError::new(format!("{} (from {ORIGIN}{name}): expected text in UTF-8", key_name(name)))
            })?;
            variables.insert(name.to_owned(), value);
        }
        Ok(Self { variables })
    }

    /// The variables' names, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        self.variables.keys().cloned().collect()
    }
}

/// `KALAMDB__SERVER__PORT` is `server.port`.
fn key_name(variable: &str) -> String {
    variable.trim_start_matches(PREFIX).to_ascii_lowercase().replace("__", ".")
}

impl Source for EnvironmentSource {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut sections: Map<String, Value> = Map::new();
        for (variable, text) in &self.variables {
            let origin = format!("{ORIGIN}{variable}");
            let value = Value::new(Some(&origin), ValueKind::String(text.clone()));
            let name = key_name(variable);
            match name.split_once('.') {
                None => drop(sections.insert(name, value)),
                Some((section, key)) => {
                    let section = sections
                        .entry(section.to_owned())
                        .or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
                    if let ValueKind::Table(keys) = &mut section.kind {
                        keys.insert(key.to_owned(), value);
                    }
                }
            }
        }
        Ok(sections)
    }

    /// Names are taken as they are, never as paths into other values.
    fn collect_to(&self, cache: &mut Value) -> Result<(), ConfigError> {
        let ValueKind::Table(merged) = &mut cache.kind else { return Ok(()) };
        for (section, value) in self.collect()? {
            let known = match merged.get_mut(&section) {
                Some(Value { kind: ValueKind::Table(known), .. }) => known,
                _ => {
                    merged.insert(section, value);
                    continue;
                }
            };
            let origin = value.origin().map(str::to_owned);
            match value.kind {
                ValueKind::Table(keys) => known.extend(keys),
                kind => drop(merged.insert(section, Value::new(origin.as_ref(), kind))),
            }
        }
        Ok(())
    }
}

/// Every value with its key's name, in the names' order.
pub(super) fn given(root: Value) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    let ValueKind::Table(sections) = root.kind else { return flat };
    for (section, value) in sections {
        let origin = value.origin().map(str::to_owned);
        match value.kind {
            ValueKind::Table(keys) => {
                flat.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
            }
            kind => drop(flat.insert(section, Value::new(origin.as_ref(), kind))),
        }
    }
    flat
}

/// A value as keys take it; only text of the environment has no type.
pub(super) fn convert(value: Value) -> SettingValue {
    let is_untyped = value.origin().is_some_and(|origin| origin.starts_with(ORIGIN));
    match value.kind {
        ValueKind::String(text) if is_untyped => SettingValue::Untyped(text),
        ValueKind::String(text) => SettingValue::Text(text),
        ValueKind::Boolean(value) => SettingValue::Boolean(value),
        ValueKind::I64(number) => SettingValue::Integer(number),
        ValueKind::U64(number) => i64::try_from(number).map_or(SettingValue::Other, SettingValue::Integer),
        ValueKind::Array(items) => items
            .into_iter()
            .map(|item| match item.kind {
                ValueKind::String(text) => Some(text),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map_or(SettingValue::Other, SettingValue::List),
        ValueKind::Nil | ValueKind::I128(_) | ValueKind::U128(_) | ValueKind::Float(_) | ValueKind::Table(_) => {
            SettingValue::Other
        }
    }
}
