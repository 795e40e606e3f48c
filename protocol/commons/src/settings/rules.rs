//! Rules that concern more than one key.

use std::net::IpAddr;

use crate::settings::Settings;

/// Keys that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Violation {
    /// The keys concerned; the first is the one to name as the culprit.
    pub keys: &'static [&'static str],
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Settings {
    /// Checks what no single key can say.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), Violation> {
        let auth = &self.auth;
        if auth.jwt_secret.is_some() && auth.jwt_public_key_file.is_some() {
            return Err(Violation {
                keys: &["auth.jwt_public_key_file", "auth.jwt_secret"],
                message: "expected one of auth.jwt_secret and auth.jwt_public_key_file, not both".to_owned(),
            });
        }
        let has_key = auth.jwt_secret.is_some() || auth.jwt_public_key_file.is_some();
        if !has_key && !is_loopback_host(&self.server.host) {
            return Err(Violation {
                keys: &["server.host"],
                message: "a server that listens beyond loopback needs auth.jwt_secret (at least 32 bytes) or \
                          auth.jwt_public_key_file; expected one of them, or a loopback address"
                    .to_owned(),
            });
        }
        Ok(())
    }
}

/// Whether `host` (a name or an address, IPv6 without brackets) can only mean this machine.
///
/// Of names only `localhost` and what lies below it is (RFC 6761); any other is whatever a resolver says.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}
