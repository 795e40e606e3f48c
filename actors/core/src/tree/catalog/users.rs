//! Rows of `system.users`: written, swapped in, and in force from the next request on (ID-1), for live
//! connections at once.

use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Result, UserId};
use kalamdb_sql::UserOptions;
use kalamdb_store::codec::catalog::UserRecord;
use kalamdb_store::{Batch, catalog as records};

use super::CatalogState;
use crate::catalog::CatalogSnapshot;

impl CatalogState {
    pub(super) async fn create_user(
        &self,
        user: UserId,
        if_not_exists: bool,
        options: UserOptions,
        now: i64,
    ) -> Result<String> {
        let snapshot = self.copy();
        if snapshot.users.contains_key(&user) {
            if if_not_exists {
                return Ok(format!("user '{user}' exists already"));
            }
            return Err(Error::new(ErrorCode::Conflict, format!("User '{user}' exists already.")));
        }
        let empty = UserRecord {
            user_id: user.clone(),
            role: None,
            username: None,
            metadata: None,
            disabled: false,
            created_at: now,
            updated_at: now,
        };
        let row = changed(empty, options, now);
        let note = self.note(&row);
        self.put(snapshot, row).await?;
        Ok(format!("user '{user}' created{note}"))
    }

    pub(super) async fn alter_user(&self, user: &UserId, changes: UserOptions, now: i64) -> Result<String> {
        let snapshot = self.copy();
        let Some(row) = snapshot.users.get(user) else { return Err(missing(user)) };
        let row = changed(UserRecord::clone(row), changes, now);
        let note = self.note(&row);
        self.put(snapshot, row).await?;
        Ok(format!("user '{user}' altered{note}"))
    }

    pub(super) async fn drop_user(&self, user: &UserId, if_exists: bool) -> Result<String> {
        let mut snapshot = self.copy();
        if snapshot.users.remove(user).is_none() {
            if if_exists {
                return Ok(format!("user '{user}' does not exist"));
            }
            return Err(missing(user));
        }
        let mut batch = Batch::new();
        records::delete_user(&mut batch, user);
        self.publish_new(batch, snapshot).await?;
        self.runtime.users_changed();
        Ok(format!(
            "user '{user}' dropped: that removes only what the server added to the claim (role, username, metadata, \
             disabled); a token for '{user}' is good as before, with the role it claims, and the user's rows stay"
        ))
    }

    async fn put(&self, mut snapshot: CatalogSnapshot, row: UserRecord) -> Result<()> {
        let mut batch = Batch::new();
        records::put_user(&mut batch, &row);
        snapshot.users.insert(row.user_id.clone(), Arc::new(row));
        self.publish_new(batch, snapshot).await?;
        self.runtime.users_changed();
        Ok(())
    }

    /// What whoever disables the user of this machine's own programs should know.
    fn note(&self, row: &UserRecord) -> &'static str {
        let auth = &self.runtime.settings().auth;
        if row.disabled && auth.localhost_bypass && row.user_id == auth.localhost_user {
            "; it is auth.localhost_user: requests without a token are refused from now on"
        } else {
            ""
        }
    }
}

fn changed(row: UserRecord, changes: UserOptions, now: i64) -> UserRecord {
    let UserOptions { role, username, metadata, disabled } = changes;
    UserRecord {
        role: role.unwrap_or(row.role),
        username: username.unwrap_or(row.username),
        metadata: metadata.unwrap_or(row.metadata),
        disabled: disabled.unwrap_or(row.disabled),
        updated_at: now,
        ..row
    }
}

fn missing(user: &UserId) -> Error {
    Error::new(ErrorCode::NotFound, format!("User '{user}' has no row in system.users."))
}
