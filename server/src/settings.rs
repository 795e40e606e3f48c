//! Loading settings: the environment before the file before the defaults.
//!
//! The model, every key's bounds and the rules between keys are `kalamdb-commons`'s; here is where values
//! come from and how an error names its source. Whatever is wrong with a setting ends the start with one
//! line: the key, where it came from, what is allowed. No secret is ever part of that line.

mod machine;
mod source;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat};
use kalamdb_commons::settings::{SettingKey, SettingValue, Settings};

use crate::auth::TokenVerifier;

pub use machine::machine_defaults;
use source::{EnvironmentSource, given};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "settings.toml";
/// The longest value an error repeats.
const MAX_SHOWN_CHARS: usize = 60;

/// Settings with their sources.
#[derive(Debug, Clone)]
pub struct LoadedSettings {
    /// What is in force.
    pub settings: Settings,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// The environment variables that took part, sorted; names only.
    pub variables: Vec<String>,
}

impl LoadedSettings {
    /// The sources in one line, without values.
    #[must_use]
    pub fn sources(&self) -> String {
        let file = match &self.file {
            Some(path) => format!("file {}", path.display()),
            None => "built-in defaults".to_owned(),
        };
        if self.variables.is_empty() { file } else { format!("{file}, environment {}", self.variables.join(" ")) }
    }
}

/// Settings that cannot be, in one line: the key, its source, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl SettingsError {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        // One line, whatever a library or a file's content had to say.
        let line = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self(line)
    }
}

/// Reads the settings of this process: `file`, or `settings.toml` in the working directory if there is one,
/// and the environment variables `KALAMDB__SECTION__KEY`.
///
/// # Errors
/// The first thing that is wrong.
pub fn load(file: Option<&Path>) -> Result<LoadedSettings, SettingsError> {
    load_from(file, Path::new(DEFAULT_FILE), std::env::vars_os())
}

fn load_from(
    file: Option<&Path>,
    default_file: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<LoadedSettings, SettingsError> {
    let file = read(file, default_file)?;
    let environment = EnvironmentSource::collect_from(environment)?;
    let mut builder = Config::builder();
    if let Some((path, text)) = &file {
        check_syntax(path, text)?;
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    let merged = builder
        .add_source(environment.clone())
        .build()
        .map_err(|_| SettingsError::new("the settings' sources contradict each other in their structure"))?;

    let file_name = file.as_ref().map_or_else(String::new, |(path, _)| format!("file {}", path.display()));
    let mut loaded = LoadedSettings {
        settings: machine_defaults(),
        file: file.map(|(path, _)| path),
        variables: environment.names(),
    };
    let mut sources = BTreeMap::new();
    for (name, value) in given(merged.cache) {
        let source = value.origin().map_or_else(|| file_name.clone(), str::to_owned);
        let Some(key) = SettingKey::find(&name) else {
            return Err(SettingsError::new(format!("{name} (from {source}): {}", unknown(&name))));
        };
        let value = source::convert(value);
        if !key.set(&mut loaded.settings, &value) {
            let shown = if key.is_secret { String::new() } else { shown(&value) };
            return Err(SettingsError::new(format!("{name} (from {source}):{shown} expected {}", key.allowed)));
        }
        sources.insert(key.name, source);
    }

    let source_of = |key: &str| sources.get(key).map_or("the default", String::as_str);
    if let Err(violation) = loaded.settings.check() {
        let named: Vec<_> = violation.keys.iter().map(|key| format!("{key} (from {})", source_of(key))).collect();
        return Err(SettingsError::new(format!("{}: {violation}", named.join(" and "))));
    }
    TokenVerifier::from_settings(&loaded.settings).map_err(|error| {
        let key = "auth.jwt_public_key_file";
        SettingsError::new(format!("{key} (from {}): {error}", source_of(key)))
    })?;
    Ok(loaded)
}

/// The file's path and text; `None` where none was named and the default one is not there.
fn read(file: Option<&Path>, default_file: &Path) -> Result<Option<(PathBuf, String)>, SettingsError> {
    let path = file.unwrap_or(default_file);
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SettingsError::new(format!("cannot read the settings file {}: {error}", path.display()))),
    }
}

/// Parsers like to repeat the line they stumble over, and it may hold a secret: only where and what.
fn check_syntax(path: &Path, text: &str) -> Result<(), SettingsError> {
    let Err(error) = text.parse::<toml::Table>() else { return Ok(()) };
    let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    Err(SettingsError::new(format!(
        "file {}: line {line} is not TOML: {}; expected [section] and key = value",
        path.display(),
        error.message()
    )))
}

fn unknown(name: &str) -> String {
    let section = name.split('.').next().unwrap_or_default();
    let known: Vec<_> = SettingKey::ALL
        .iter()
        .filter_map(|key| key.name.split_once('.'))
        .filter(|(of, _)| *of == section)
        .map(|(_, key)| key)
        .collect();
    if !known.is_empty() {
        return format!("no such key; expected one of {section}.{{{}}}", known.join(", "));
    }
    let mut sections: Vec<_> = SettingKey::ALL.iter().filter_map(|key| key.name.split('.').next()).collect();
    sections.dedup();
    format!("no such section; expected one of {}", sections.join(", "))
}

fn shown(value: &SettingValue) -> String {
    let text = match value {
        SettingValue::Untyped(text) | SettingValue::Text(text) => format!("{text:?}"),
        SettingValue::Integer(number) => number.to_string(),
        SettingValue::Boolean(value) => value.to_string(),
        SettingValue::List(list) => format!("{list:?}"),
        SettingValue::Other => return String::new(),
    };
    let cut: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!(" got {cut}{more},")
}
