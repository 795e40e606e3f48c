//! What a source of settings says, and how it becomes a typed value.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::settings::{Durability, LogFormat, LogLevel, Secret, StorageSettings};
use crate::{PathTemplate, TableType, UserId, format_duration, format_size, parse_duration, parse_size};

/// A value as a source gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum SettingValue {
    /// Text of a source that has no types (the environment); it is read as whatever the key wants.
    Untyped(String),
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// A list of texts.
    List(Vec<String>),
    /// Something no setting is: a fraction, a date, a table.
    Other,
}

impl SettingValue {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::Text(text) => Some(text),
            Self::Integer(_) | Self::Boolean(_) | Self::List(_) | Self::Other => None,
        }
    }
}

/// Longest duration: a hundred years, so that adding it to a point in time cannot overflow.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 86_400);

pub(super) fn count<T: TryFrom<u64>>(value: &SettingValue, allowed: RangeInclusive<u64>) -> Option<T> {
    let number = match value {
        SettingValue::Untyped(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        SettingValue::Integer(number) => u64::try_from(*number).ok()?,
        SettingValue::Untyped(_)
        | SettingValue::Text(_)
        | SettingValue::Boolean(_)
        | SettingValue::List(_)
        | SettingValue::Other => return None,
    };
    allowed.contains(&number).then_some(number).and_then(|number| T::try_from(number).ok())
}

pub(super) fn size(value: &SettingValue, allowed: RangeInclusive<u64>) -> Option<u64> {
    let bytes = match value {
        SettingValue::Integer(number) => u64::try_from(*number).ok()?,
        other => parse_size(other.text()?)?,
    };
    allowed.contains(&bytes).then_some(bytes)
}

/// Nothing that is waited for or kept may be zero.
pub(super) fn duration(value: &SettingValue) -> Option<Duration> {
    let duration = parse_duration(value.text()?)?;
    (Duration::from_millis(1)..=MAX_DURATION).contains(&duration).then_some(duration)
}

pub(super) fn boolean(value: &SettingValue) -> Option<bool> {
    match value {
        SettingValue::Boolean(value) => Some(*value),
        SettingValue::Untyped(text) => text.trim().parse().ok(),
        SettingValue::Text(_) | SettingValue::Integer(_) | SettingValue::List(_) | SettingValue::Other => None,
    }
}

fn filled(value: &SettingValue) -> Option<&str> {
    value.text().filter(|text| !text.trim().is_empty() && !text.chars().any(char::is_control))
}

pub(super) fn text(value: &SettingValue) -> Option<String> {
    filled(value).map(str::to_owned)
}

pub(super) fn optional_text(value: &SettingValue) -> Option<Option<String>> {
    text(value).map(Some)
}

pub(super) fn path(value: &SettingValue) -> Option<PathBuf> {
    filled(value).map(PathBuf::from)
}

pub(super) fn optional_path(value: &SettingValue) -> Option<Option<PathBuf>> {
    path(value).map(Some)
}

/// A host name or address; IPv6 with or without brackets.
pub(super) fn host(value: &SettingValue) -> Option<String> {
    let host = filled(value)?.trim();
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let is_name = host.len() <= 253 && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (is_address || is_name).then(|| host.to_owned())
}

pub(super) fn secret(value: &SettingValue) -> Option<Option<Secret>> {
    value.text().and_then(Secret::new).map(Some)
}

pub(super) fn user_id(value: &SettingValue) -> Option<UserId> {
    UserId::new(value.text()?).ok()
}

/// `scheme://host[:port]`, as a browser writes it; in the environment separated by commas.
pub(super) fn origins(value: &SettingValue) -> Option<Vec<String>> {
    let origins: Vec<String> = match value {
        SettingValue::List(origins) => origins.clone(),
        SettingValue::Untyped(text) => {
            text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect()
        }
        SettingValue::Text(_) | SettingValue::Integer(_) | SettingValue::Boolean(_) | SettingValue::Other => {
            return None;
        }
    };
    origins
        .iter()
        .all(|origin| is_origin(origin))
        .then(|| origins.iter().map(|origin| origin.to_ascii_lowercase()).collect())
}

fn is_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let scheme_fits = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let authority_fits =
        !authority.is_empty() && authority.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@*\\\"<>".contains(&b));
    scheme_fits && authority_fits
}

pub(super) fn backend(value: &SettingValue) -> Option<String> {
    let name = value.text()?;
    StorageSettings::BACKENDS.contains(&name).then(|| name.to_owned())
}

pub(super) fn user_template(value: &SettingValue) -> Option<String> {
    template(value, TableType::User)
}

pub(super) fn shared_template(value: &SettingValue) -> Option<String> {
    template(value, TableType::Shared)
}

fn template(value: &SettingValue, table_type: TableType) -> Option<String> {
    text(value).filter(|template| PathTemplate::parse(template, table_type).is_ok())
}

pub(super) fn durability(value: &SettingValue) -> Option<Durability> {
    [Durability::Sync, Durability::Buffered].into_iter().find(|known| value.text() == Some(known.as_str()))
}

pub(super) fn level(value: &SettingValue) -> Option<LogLevel> {
    use LogLevel::{Debug, Error, Info, Trace, Warn};
    [Error, Warn, Info, Debug, Trace].into_iter().find(|known| value.text() == Some(known.as_str()))
}

pub(super) fn format(value: &SettingValue) -> Option<LogFormat> {
    [LogFormat::Text, LogFormat::Json].into_iter().find(|known| value.text() == Some(known.as_str()))
}

/// How a value in force is written; `None` where the key is unset.
pub(super) trait Shown {
    fn shown(&self) -> Option<String>;
}

macro_rules! shown {
    ($($type:ty => $show:expr;)*) => {$(
        impl Shown for $type {
            fn shown(&self) -> Option<String> {
                let show: fn(&$type) -> String = $show;
                Some(show(self))
            }
        }
    )*};
}

shown! {
    String => Clone::clone;
    u16 => ToString::to_string;
    usize => ToString::to_string;
    bool => ToString::to_string;
    Duration => |duration| format_duration(*duration);
    PathBuf => |path| Path::display(path).to_string();
    UserId => ToString::to_string;
    Vec<String> => |list| list.join(",");
    Secret => |_| "***".to_owned();
    Durability => |durability| durability.as_str().to_owned();
    LogLevel => |level| level.as_str().to_owned();
    LogFormat => |format| format.as_str().to_owned();
}

/// Bytes, for those keys that are sizes; counts are shown as they are.
pub(super) fn shown_size(bytes: &u64) -> Option<String> {
    Some(format_size(*bytes))
}

/// A count that is no size.
pub(super) fn shown_count(count: &u64) -> Option<String> {
    Some(count.to_string())
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> Option<String> {
        self.as_ref().and_then(Shown::shown)
    }
}
