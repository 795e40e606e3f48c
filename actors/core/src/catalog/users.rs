//! Who a caller is once its row in `system.users` has had its say (ID-1).
//!
//! Asked for every request, from memory: no actor is between a row and its effect.

use kalamdb_commons::settings::AuthSettings;
use kalamdb_commons::{Error, ErrorCode, Identity, Result, Role};

use super::CatalogSnapshot;

impl CatalogSnapshot {
    /// The caller as its row has it: a row's role wins over the claimed one. The role `system` is nobody's claim: it
    /// comes with the localhost rule, and no row takes it back.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] for a user whose row is disabled.
    pub(crate) fn identify(&self, claimed: Identity) -> Result<Identity> {
        let Some(row) = self.users.get(&claimed.user_id) else { return Ok(claimed) };
        if row.disabled {
            let user = &claimed.user_id;
            return Err(Error::new(ErrorCode::Unauthorized, format!("user '{user}' is disabled in system.users")));
        }
        let role = match (claimed.role, row.role) {
            (Role::System, _) => Role::System,
            (Role::User | Role::Service | Role::Dba, Some(role)) => role,
            (role, None) => role,
        };
        Ok(Identity { role, ..claimed })
    }
}

/// Tells the operator where a row of `auth.localhost_user`, made while it was an ordinary user, and the localhost rule
/// do not agree.
pub(crate) fn warn_of_localhost_user(catalog: &CatalogSnapshot, auth: &AuthSettings) {
    let Some(row) = catalog.users.get(&auth.localhost_user).filter(|_| auth.localhost_bypass) else { return };
    let user = auth.localhost_user.as_str();
    if row.disabled {
        tracing::warn!(user, "auth.localhost_user is disabled in system.users: requests without a token are refused");
    } else if let Some(role) = row.role {
        tracing::warn!(user, %role, "auth.localhost_user has a role in system.users, which the localhost rule overrides");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kalamdb_commons::UserId;
    use kalamdb_store::codec::catalog::UserRecord;

    use super::*;

    fn of(user: &str, role: Role) -> Identity {
        Identity { user_id: UserId::new(user).expect("an id"), role }
    }

    fn catalog(role: Option<Role>, disabled: bool) -> CatalogSnapshot {
        let user_id = UserId::new("ann").expect("an id");
        let row = UserRecord { user_id, role, username: None, metadata: None, disabled, created_at: 1, updated_at: 1 };
        CatalogSnapshot { users: [(row.user_id.clone(), Arc::new(row))].into_iter().collect(), ..Default::default() }
    }

    #[test]
    fn a_row_wins_over_the_claim_of_its_user() {
        for claimed in [Role::User, Role::Service, Role::Dba] {
            for row in [Role::User, Role::Service, Role::Dba] {
                let identity = catalog(Some(row), false).identify(of("ann", claimed)).expect("enabled");
                assert_eq!(identity, of("ann", row));
                let other = catalog(Some(row), true).identify(of("anna", claimed)).expect("another user");
                assert_eq!(other, of("anna", claimed));
            }
            assert_eq!(catalog(None, false).identify(of("ann", claimed)).expect("enabled"), of("ann", claimed));
        }
    }

    #[test]
    fn the_localhost_rule_keeps_its_role_and_heeds_disabled() {
        let local = of("ann", Role::System);
        assert_eq!(catalog(Some(Role::User), false).identify(local.clone()).expect("enabled"), local);
        for role in [Role::User, Role::Dba, Role::System] {
            let error = catalog(Some(Role::Dba), true).identify(of("ann", role)).expect_err("disabled");
            assert_eq!(error.code, ErrorCode::Unauthorized);
            assert!(error.message.contains("'ann' is disabled"), "{}", error.message);
        }
    }
}
