//! Templates of the directories that hold segments: parsed and checked in this one place, for settings,
//! table options and storages alike.
//!
//! What always holds:
//! - A rendered directory lies below its storage's location: no component of it is `.` or `..`.
//! - Two users' directories of one template differ, whatever their ids, names and shards are (as far as
//!   [`encode_path_component`](crate::encode_path_component) tells the ids apart: it hashes very long ones).

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorCode, NamespaceId, Result, TableName, TableType, UserId, stable_hash};

/// Longest component that file systems take, in bytes.
const MAX_COMPONENT_BYTES: usize = 255;
/// Bytes kept of a longer one, at most, before `~` and 16 hex digits.
const CUT_COMPONENT_BYTES: usize = 238;
/// Longest template, in bytes, and the most directories it may have: file systems take paths of 4096 bytes.
const MAX_TEMPLATE_BYTES: usize = 1024;
const MAX_COMPONENTS: usize = 12;

/// What every template begins with.
const LOCATION: &str = "{storageLocation}/";
const VARIABLES: &str = "{storageLocation}, {namespace}, {tableName}, {userId}, {shard}";

/// What stands for a part of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    Namespace,
    TableName,
    UserId,
    Shard,
}

impl FromStr for Variable {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "namespace" => Ok(Self::Namespace),
            "tableName" => Ok(Self::TableName),
            "userId" => Ok(Self::UserId),
            "shard" => Ok(Self::Shard),
            "storageLocation" => Err(invalid("{storageLocation} stands at the beginning and nowhere else")),
            _ => {
                let shown: String = name.chars().take(80).collect();
                Err(invalid(format!("{{{shown}}} is none of {VARIABLES}")))
            }
        }
    }
}

/// A piece of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Variable(Variable),
}

/// A checked template, like `{storageLocation}/{namespace}/users/{userId}/{tableName}/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    /// The components below the location; none of them is empty.
    components: Vec<Vec<Piece>>,
}

/// What a template is rendered for.
#[derive(Debug, Clone, Copy)]
pub struct PathValues<'a> {
    /// The table's namespace.
    pub namespace: &'a NamespaceId,
    /// The table's name.
    pub table: &'a TableName,
    /// Whose partition; none for a shared table.
    pub user: Option<&'a UserId>,
    /// The shard, empty where the table has none.
    pub shard: &'a str,
}

impl PathTemplate {
    /// Reads a template for tables of a kind.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidOption`] with what is wrong: an unknown variable, a user table's without
    /// `{userId}` or another's with it, one that leaves the location, or one under which two users
    /// could share a directory.
    pub fn parse(text: &str, table_type: TableType) -> Result<Self> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(invalid(format!("a template has at most {MAX_TEMPLATE_BYTES} bytes")));
        }
        check_braces(text)?;
        let below = text.strip_prefix(LOCATION);
        let mut components = Vec::new();
        // Variables are named first: of two mistakes, an unknown variable is the clearer one to hear of.
        for component in below.unwrap_or(text).split('/').filter(|component| !component.is_empty()) {
            components.push(pieces(component)?);
        }
        let has_user = components.iter().flatten().any(|piece| *piece == Piece::Variable(Variable::UserId));
        match (table_type.is_per_user(), has_user) {
            (true, false) => return Err(invalid("the template of a user table has {userId}")),
            (false, true) => return Err(invalid("the rows of a shared table have no {userId}")),
            (true, true) | (false, false) => {}
        }
        if below.is_none() {
            return Err(invalid(format!("it begins with {LOCATION} and stays below it")));
        }
        if components.len() > MAX_COMPONENTS {
            return Err(invalid(format!("it has at most {MAX_COMPONENTS} directories")));
        }
        for component in &components {
            check_stays_below(component)?;
            check_tells_users_apart(component)?;
        }
        Ok(Self { text: text.to_owned(), components })
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the shard is part of the directory.
    #[must_use]
    pub fn has_shard(&self) -> bool {
        self.components.iter().flatten().any(|piece| *piece == Piece::Variable(Variable::Shard))
    }

    /// The directory, relative to the storage's location: components with `/` between them, without one
    /// at either end; empty for the location itself. Components that come out empty are left out, and one longer than
    /// 255 bytes is cut to 238 and ends in `~` and 16 hex digits of its [`stable_hash`].
    ///
    /// # Errors
    /// [`ErrorCode::Internal`] when the template needs a user and there is none.
    pub fn render(&self, values: &PathValues<'_>) -> Result<String> {
        let mut out = String::with_capacity(self.text.len() + 64);
        for component in &self.components {
            let mut rendered = String::new();
            for piece in component {
                match piece {
                    Piece::Literal(text) => rendered.push_str(text),
                    Piece::Variable(Variable::Namespace) => rendered.push_str(values.namespace.as_str()),
                    Piece::Variable(Variable::TableName) => rendered.push_str(values.table.as_str()),
                    Piece::Variable(Variable::Shard) => rendered.push_str(values.shard),
                    Piece::Variable(Variable::UserId) => {
                        let user = values.user.ok_or_else(|| {
                            Error::internal(format!("template {:?} is rendered without a user", self.text))
                        })?;
                        rendered.push_str(&user.to_path_component());
                    }
                }
            }
            cut(&mut rendered);
            if !rendered.is_empty() {
                if !out.is_empty() {
                    out.push('/');
                }
                out.push_str(&rendered);
            }
        }
        Ok(out)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Shortens a component that no file system would take.
fn cut(component: &mut String) {
    if component.len() > MAX_COMPONENT_BYTES {
        let hash = stable_hash(component);
        let end = (0..=CUT_COMPONENT_BYTES).rev().find(|end| component.is_char_boundary(*end)).unwrap_or_default();
        component.truncate(end);
        component.push_str(&format!("~{hash:016x}"));
    }
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidOption, what)
}

/// Every `{` has its `}` in the same component, and nothing is nested.
fn check_braces(text: &str) -> Result<()> {
    for component in text.split('/') {
        let mut open = false;
        for character in component.chars() {
            match (character, open) {
                ('{', false) => open = true,
                ('}', true) => open = false,
                ('{', true) | ('}', false) => return Err(invalid("'{' and '}' come in pairs")),
                _ => {}
            }
        }
        if open {
            return Err(invalid("'{' and '}' come in pairs"));
        }
    }
    Ok(())
}

/// Takes one component apart; its braces come in pairs.
fn pieces(component: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = component;
    while let Some((literal, after)) = rest.split_once('{') {
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        pieces.push(Piece::Variable(name.parse()?));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Ok(pieces)
}

fn check_stays_below(component: &[Piece]) -> Result<()> {
    let literals = || {
        component.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::Variable(_) => None,
        })
    };
    if literals().any(|text| text.contains(|character: char| character.is_control() || character == '\\')) {
        return Err(invalid("it holds no control characters and no backslash"));
    }
    // A shard may be empty, and what is left of the component must not lead elsewhere then. Names and
    // user ids are never empty, and no encoded user id is made of dots alone.
    let only_shards =
        component.iter().all(|piece| matches!(piece, Piece::Literal(_) | Piece::Variable(Variable::Shard)));
    let text: String = literals().collect();
    if only_shards && matches!(text.as_str(), "." | "..") {
        return Err(invalid(format!("it begins with {LOCATION} and stays below it: no component is . or ..")));
    }
    Ok(())
}

/// In a component with `{userId}` every other variable is told apart from it by a character that
/// names and shards cannot have: else `{shard}{userId}` of shard 1 and user `2x`, and of shard 12 and
/// user `x`, would be one directory.
fn check_tells_users_apart(component: &[Piece]) -> Result<()> {
    if !component.contains(&Piece::Variable(Variable::UserId)) {
        return Ok(());
    }
    let mut previous: Option<Variable> = None;
    let mut separated = true;
    for piece in component {
        match piece {
            Piece::Literal(text) => {
                separated |= text.contains(|character: char| !character.is_ascii_alphanumeric() && character != '_');
            }
            Piece::Variable(variable) => {
                let touches_user = *variable == Variable::UserId || previous == Some(Variable::UserId);
                if touches_user && previous.is_some_and(|previous| previous != *variable) && !separated {
                    return Err(invalid(
                        "{userId} and another variable of one directory have a character like - between them",
                    ));
                }
                previous = Some(*variable);
                separated = false;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
