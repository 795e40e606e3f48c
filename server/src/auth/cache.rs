//! Tokens that were verified, until they expire: checking a signature costs far more than a statement's other steps.
//!
//! What always holds:
//! - A token is known by its SHA-256 and by nothing else: its text is not kept.
//! - Only what verification found good is kept, so that bad tokens cost their sender and take nobody's place.
//! - When a token holds is looked at anew for every request; what a user may do is not kept here at all.
//! - Entries and bytes are bounded; what is used least makes room.

use std::fmt;

use kalamdb_commons::{Identity, Result};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::token::{Claims, TokenClaim, TokenVerifier, now_seconds};

/// Bytes that all entries may take.
const MAX_BYTES: u64 = 16 << 20;
/// Entries that there may be.
const MAX_ENTRIES: u64 = 65_536;
/// What an entry takes beside the user id: digest, claims, and the cache's own bookkeeping, generously.
const ENTRY_BYTES: u64 = 192;

/// Stands for a token.
type TokenDigest = [u8; 32];

/// Checks each token once.
pub(super) struct CachingVerifier {
    verifier: TokenVerifier,
    verified: Cache<TokenDigest, Claims, Weight>,
}

impl fmt::Debug for CachingVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachingVerifier").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl CachingVerifier {
    pub(super) fn new(verifier: TokenVerifier) -> Self {
        let entries = usize::try_from(MAX_ENTRIES).unwrap_or(usize::MAX);
        Self { verifier, verified: Cache::with_weighter(entries, MAX_BYTES, Weight) }
    }

    /// Who a token speaks for; as [`TokenVerifier::verify`].
    pub(super) fn verify(&self, token: &str) -> Result<Identity> {
        self.verify_at(token, now_seconds)
    }

    /// The same for a connection that outlives the token.
    pub(super) fn claim(&self, token: &str) -> Result<TokenClaim> {
        self.claims_at(token, now_seconds).map(Claims::into_token_claim)
    }

    fn verify_at(&self, token: &str, now: impl Fn() -> f64) -> Result<Identity> {
        self.claims_at(token, now).map(|claims| claims.into_token_claim().identity)
    }

    fn claims_at(&self, token: &str, now: impl Fn() -> f64) -> Result<Claims> {
        let digest = TokenDigest::from(Sha256::digest(token));
        if let Some(claims) = self.verified.get(&digest) {
            if let Err(error) = claims.check_time(now()) {
                self.verified.remove(&digest);
                return Err(error);
            }
            return Ok(claims);
        }
        let claims = self.verifier.check(token)?;
        claims.check_time(now())?;
        self.verified.insert(digest, claims.clone());
        Ok(claims)
    }
}

/// An entry's bytes, and at least the part of all bytes that is one entry's.
#[derive(Debug, Clone, Copy)]
struct Weight;

impl Weighter<TokenDigest, Claims> for Weight {
    fn weight(&self, _: &TokenDigest, claims: &Claims) -> u64 {
        let bytes = ENTRY_BYTES + claims.user_id().as_str().len() as u64;
        bytes.max(MAX_BYTES / MAX_ENTRIES)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use kalamdb_commons::settings::{Secret, Settings};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn caching() -> CachingVerifier {
        let mut settings = Settings::default();
        settings.auth.jwt_secret = Secret::new(SECRET);
        CachingVerifier::new(TokenVerifier::from_settings(&settings).expect("a good key").expect("a key"))
    }

    fn sign(claims: &Value) -> String {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&Header::default(), claims, &key).expect("it signs")
    }

    #[test]
    fn a_kept_token_holds_exactly_as_long_as_it_says() {
        let caching = caching();
        let token = sign(&json!({"user_id": "ann", "exp": 1000.5, "nbf": 900}));
        for round in 0..3 {
            for (now, says) in [
                (899.999, Some("not valid yet")),
                (900.0, None),
                (1000.499, None),
                (1000.5, Some("expired")),
                (1e12, Some("expired")),
            ] {
                match (caching.verify_at(&token, || now), says) {
                    (Ok(identity), None) => assert_eq!(identity.user_id.as_str(), "ann"),
                    (Err(error), Some(says)) => assert!(error.message.contains(says), "{now}: {}", error.message),
                    (got, _) => panic!("round {round}, {now}: {got:?}"),
                }
            }
            assert_eq!(caching.verified.len(), 0, "what has expired is not kept");
            // From here on the rounds begin with the token in the cache.
            caching.verify_at(&token, || 950.0).expect("good");
            assert_eq!(caching.verified.len(), 1);
        }
    }

    #[test]
    fn only_good_tokens_are_kept_each_for_itself() {
        let caching = caching();
        let ann = sign(&json!({"user_id": "ann", "exp": 1000, "role": "dba"}));
        let bob = sign(&json!({"user_id": "bob", "exp": 1000}));
        for _ in 0..2 {
            assert_eq!(caching.verify_at(&ann, || 1.0).expect("good").user_id.as_str(), "ann");
            assert_eq!(caching.verify_at(&bob, || 1.0).expect("good").user_id.as_str(), "bob");
        }
        assert_eq!(caching.verified.len(), 2);
        let (signed, signature) = bob.rsplit_once('.').expect("three parts");
        let claims_of_ann = ann.split('.').nth(1).expect("claims");
        for bad in [
            format!("{signed}.{}", signature.to_lowercase()),
            format!("{signed}."),
            signed.to_owned(),
            format!("{}.{claims_of_ann}.{signature}", ann.split('.').next().expect("a header")),
            sign(&json!({"user_id": "ann", "exp": 0})),
            sign(&json!({"user_id": "ann", "exp": 1000, "role": "root"})),
            String::new(),
        ] {
            assert!(caching.verify_at(&bad, || 1.0).is_err(), "{bad}");
        }
        assert_eq!(caching.verified.len(), 2);
    }

    #[test]
    fn entries_and_bytes_are_bounded() {
        let caching = caching();
        let claims = |user: &str| {
            let token = sign(&json!({"user_id": user, "exp": 1000}));
            caching.verifier.check(&token).expect("good")
        };
        // The longest user id there is, and the shortest.
        for claims in [claims(&"\u{1F600}".repeat(128)), claims("a")] {
            for number in 0..(MAX_ENTRIES + 10_000) {
                let mut digest = TokenDigest::default();
                digest[..8].copy_from_slice(&number.to_be_bytes());
                caching.verified.insert(digest, claims.clone());
            }
            assert!(caching.verified.weight() <= MAX_BYTES, "{} bytes", caching.verified.weight());
            assert!(caching.verified.len() as u64 <= MAX_ENTRIES, "{} entries", caching.verified.len());
            assert!(caching.verified.len() > 1000, "{} entries", caching.verified.len());
        }
    }

    #[test]
    fn nothing_of_a_token_is_shown() {
        let caching = caching();
        let token = sign(&json!({"user_id": "ann", "exp": 1000}));
        caching.verify_at(&token, || 1.0).expect("good");
        let shown = format!("{caching:?}");
        assert!(token.split('.').all(|part| !shown.contains(part)) && !shown.contains(SECRET), "{shown}");
    }
}
