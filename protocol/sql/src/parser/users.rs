//! Users: CREATE, ALTER and DROP of the row that the server keeps beside what a token claims.

use kalamdb_commons::{Result, Role, UserId};
use sqlparser::tokenizer::Token;

use super::given::{Given, list};
use super::input::Input;
use crate::{Statement, UserOptions};

/// Longest username, in characters.
const MAX_USERNAME_CHARS: usize = 256;
/// Longest metadata, in bytes: every row is in memory.
const MAX_METADATA_BYTES: usize = 16 << 10;
/// Bare words that a value may be.
const WORDS: [&str; 3] = ["NULL", "TRUE", "FALSE"];

/// What follows `CREATE USER`.
pub(super) fn create(input: &mut Input<'_>) -> Result<Statement> {
    let if_not_exists = input.take_words(&["IF", "NOT", "EXISTS"]);
    let user = user_id(input)?;
    let options = if input.take_word("WITH") { options(input)? } else { UserOptions::default() };
    Ok(Statement::CreateUser { user, if_not_exists, options })
}

/// What follows `ALTER USER`.
pub(super) fn alter(input: &mut Input<'_>) -> Result<Statement> {
    let user = user_id(input)?;
    input.expect_word("SET")?;
    Ok(Statement::AlterUser { user, changes: options(input)? })
}

/// What follows `DROP USER`.
pub(super) fn drop(input: &mut Input<'_>) -> Result<Statement> {
    let if_exists = input.take_words(&["IF", "EXISTS"]);
    Ok(Statement::DropUser { user: user_id(input)?, if_exists })
}

/// A user id is any text, so it stands in single quotes; a name without them would be folded to lower case.
pub(super) fn user_id(input: &mut Input<'_>) -> Result<UserId> {
    let Some(Token::SingleQuotedString(text)) = input.peek() else {
        return Err(input.unexpected("a user id in single quotes"));
    };
    let user = UserId::new(text).map_err(|error| input.here(error))?;
    input.advance();
    Ok(user)
}

fn options(input: &mut Input<'_>) -> Result<UserOptions> {
    let mut options = UserOptions::default();
    for option in list(input, &WORDS)? {
        match option.name.as_str() {
            "role" => options.role = Some(option.or_null(Given::role)?),
            "username" => options.username = Some(option.or_null(Given::username)?),
            "metadata" => options.metadata = Some(option.or_null(Given::metadata)?),
            "disabled" => options.disabled = Some(option.disabled()?),
            _ => return Err(option.invalid("is none of a user: it has role, username, metadata, disabled".to_owned())),
        }
    }
    Ok(options)
}

impl Given {
    fn or_null<T>(&self, read: impl FnOnce(&Self) -> Result<T>) -> Result<Option<T>> {
        match (self.is_word, self.value.as_str()) {
            (true, "NULL") => Ok(None),
            (true, _) => Err(self.invalid("takes a text in single quotes, or NULL".to_owned())),
            (false, _) => read(self).map(Some),
        }
    }

    fn role(&self) -> Result<Role> {
        let role = self.value.to_ascii_lowercase();
        role.parse().map_err(|_| {
            let rule = if role == Role::System.as_str() { "; that role is the localhost rule's alone" } else { "" };
            self.wrong_value(&format!("'user', 'service' or 'dba'{rule}"))
        })
    }

    fn username(&self) -> Result<String> {
        let length = self.value.chars().count();
        if length == 0 || length > MAX_USERNAME_CHARS || self.value.chars().any(char::is_control) {
            return Err(self.wrong_value(&format!(
                "1 to {MAX_USERNAME_CHARS} characters, none of them a control character; NULL for none"
            )));
        }
        Ok(self.value.clone())
    }

    fn metadata(&self) -> Result<String> {
        if self.value.len() > MAX_METADATA_BYTES {
            return Err(self.invalid(format!("is {} bytes long: at most {MAX_METADATA_BYTES}", self.value.len())));
        }
        // An object, so that whoever adds a member later finds the place for it.
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.value) {
            Ok(_) => Ok(self.value.clone()),
            Err(_) => Err(self.wrong_value("the text of a JSON object such as '{\"team\": 7}'; NULL for none")),
        }
    }

    fn disabled(&self) -> Result<bool> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong_value("'true' or 'false'")),
        }
    }
}
