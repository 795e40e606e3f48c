//! From what CREATE STORAGE says to a storage.
//!
//! What always holds: an option that is not known here is refused, what is a secret is known as one
//! ([`is_secret_option`]), and credentials are those that were given. The machine's own identity in its cloud is used
//! where `machine_identity` asks for it, and never shown to another endpoint than the cloud's. Of the environment only
//! the proxy is heeded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kalamdb_commons::parse_duration;
use kalamdb_store::codec::catalog::StorageType;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};

use super::{LocalStorage, ObjectStorage, ObjectStorageArgs, SegmentStorage};
use crate::error::{Result, SegmentError};
use crate::path::SegmentPath;

/// Longest time for one request with its retries, where the option `timeout` does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// What the option may say.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
/// Longest time to reach the other side.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries after the first one.
const RETRIES: usize = 3;

/// Options of every bucket.
const TIMEOUT: &str = "timeout";
const ALLOW_HTTP: &str = "allow_http";
const ENDPOINT: &str = "endpoint";
const SKIP_SIGNATURE: &str = "skip_signature";
const MACHINE_IDENTITY: &str = "machine_identity";
const SERVICE_ACCOUNT_PATH: &str = "service_account_path";

/// The options of a kind of bucket by our names, and the client's.
type Options<K> = &'static [(&'static str, K)];

const S3_OPTIONS: Options<AmazonS3ConfigKey> = &[
    ("region", AmazonS3ConfigKey::Region),
    ("endpoint", AmazonS3ConfigKey::Endpoint),
    ("access_key_id", AmazonS3ConfigKey::AccessKeyId),
    ("secret_access_key", AmazonS3ConfigKey::SecretAccessKey),
    ("session_token", AmazonS3ConfigKey::Token),
    ("virtual_hosted_style_request", AmazonS3ConfigKey::VirtualHostedStyleRequest),
    (SKIP_SIGNATURE, AmazonS3ConfigKey::SkipSignature),
];

const GCS_OPTIONS: Options<GoogleConfigKey> = &[
    ("service_account_key", GoogleConfigKey::ServiceAccountKey),
    (SERVICE_ACCOUNT_PATH, GoogleConfigKey::ServiceAccount),
    ("endpoint", GoogleConfigKey::BaseUrl),
    (SKIP_SIGNATURE, GoogleConfigKey::SkipSignature),
];

const AZURE_OPTIONS: Options<AzureConfigKey> = &[
    ("account_name", AzureConfigKey::AccountName),
    ("account_key", AzureConfigKey::AccessKey),
    ("sas_token", AzureConfigKey::SasKey),
    ("client_id", AzureConfigKey::ClientId),
    ("client_secret", AzureConfigKey::ClientSecret),
    ("tenant_id", AzureConfigKey::AuthorityId),
    ("endpoint", AzureConfigKey::Endpoint),
    (SKIP_SIGNATURE, AzureConfigKey::SkipSignature),
];

/// Options that are credentials together.
type Credentials = &'static [&'static [&'static str]];

const S3_CREDENTIALS: Credentials = &[&["access_key_id", "secret_access_key"]];
const GCS_CREDENTIALS: Credentials = &[&["service_account_key"], &[SERVICE_ACCOUNT_PATH]];
const AZURE_CREDENTIALS: Credentials =
    &[&["account_key"], &["sas_token"], &["client_id", "client_secret", "tenant_id"]];

/// The options whose values are credentials.
const SECRET_OPTIONS: [&str; 7] = [
    "access_key_id",
    "secret_access_key",
    "session_token",
    "service_account_key",
    "account_key",
    "sas_token",
    "client_secret",
];

/// Whether an option says where the storage is: another value means other files.
#[must_use]
pub fn is_place_option(name: &str) -> bool {
    !is_secret_option(name) && ![TIMEOUT, ALLOW_HTTP, MACHINE_IDENTITY, SERVICE_ACCOUNT_PATH].contains(&name)
}

/// Whether the value of an option is a credential, which nobody is shown.
#[must_use]
pub fn is_secret_option(name: &str) -> bool {
    SECRET_OPTIONS.contains(&name)
}

/// What CREATE STORAGE says of a storage.
#[derive(Clone, Copy)]
pub struct StorageDefinition<'a> {
    /// Its kind.
    pub storage_type: StorageType,
    /// An absolute directory; `s3://bucket/prefix`, `gs://bucket/prefix`, `azure://container/prefix`.
    pub location: &'a str,
    /// Everything else but the path templates.
    pub options: &'a BTreeMap<String, String>,
}

impl fmt::Debug for StorageDefinition<'_> {
    /// Leaves the options' values out: some are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageDefinition")
            .field("storage_type", &self.storage_type)
            .field("location", &self.location)
            .field("options", &self.options.keys())
            .finish()
    }
}

/// Makes the storage of a definition; reaches nothing. [`SegmentStorage::prepare`] finds out whether it can be used.
///
/// # Errors
/// [`SegmentError::InvalidOption`], naming the option and what it may be.
pub fn open_storage(definition: &StorageDefinition<'_>) -> Result<Arc<dyn SegmentStorage>> {
    let location = definition.location;
    match definition.storage_type {
        StorageType::Filesystem => {
            if let Some(name) = definition.options.keys().next() {
                return Err(unknown(name, definition.storage_type, &[]));
            }
            let is_directory = location.starts_with('/') && !location.contains(char::is_control);
            if !is_directory {
                return Err(wrong_location("an absolute directory"));
            }
            Ok(Arc::new(LocalStorage::new(location)))
        }
        StorageType::S3 => {
            let place = Place::parse(location, "s3")?;
            let common = Common::take(definition, S3_OPTIONS, S3_CREDENTIALS)?;
            let builder = AmazonS3Builder::new()
                .with_bucket_name(place.bucket)
                .with_retry(common.retry())
                .with_client_options(common.client());
            let builder = configure(definition, S3_OPTIONS, builder, AmazonS3Builder::with_config);
            common.storage(place, builder.build())
        }
        StorageType::Gcs => {
            let place = Place::parse(location, "gs")?;
            let common = Common::take(definition, GCS_OPTIONS, GCS_CREDENTIALS)?;
            let builder = GoogleCloudStorageBuilder::new()
                .with_bucket_name(place.bucket)
                .with_retry(common.retry())
                .with_client_options(common.client());
            let mut builder = configure(definition, GCS_OPTIONS, builder, GoogleCloudStorageBuilder::with_config);
            if common.skip_signature {
                // Or the builder would look for the machine's.
                let nobody = GcpCredential { bearer: String::new() };
                builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
            }
            common.storage(place, builder.build())
        }
        StorageType::Azure => {
            let place = Place::parse(location, "azure")?;
            let common = Common::take(definition, AZURE_OPTIONS, AZURE_CREDENTIALS)?;
            let builder = MicrosoftAzureBuilder::new()
                .with_container_name(place.bucket)
                .with_retry(common.retry())
                .with_client_options(common.client());
            let builder = configure(definition, AZURE_OPTIONS, builder, MicrosoftAzureBuilder::with_config);
            common.storage(place, builder.build())
        }
    }
}

/// A bucket and what all paths in it begin with.
struct Place<'a> {
    bucket: &'a str,
    prefix: &'a str,
}

impl<'a> Place<'a> {
    fn parse(location: &'a str, scheme: &str) -> Result<Self> {
        let allowed = format!("{scheme}://bucket or {scheme}://bucket/prefix");
        let wrong = || wrong_location(&allowed);
        let rest = location.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")).ok_or_else(wrong)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        // No credentials, ports or queries: those are options.
        let named =
            !bucket.is_empty() && bucket.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
        let below = prefix.is_empty() || SegmentPath::parse(prefix).is_ok() && !prefix.contains(['?', '#']);
        if named && below { Ok(Self { bucket, prefix }) } else { Err(wrong()) }
    }
}

/// What all kinds of buckets are told.
struct Common {
    timeout: Duration,
    allow_http: bool,
    skip_signature: bool,
    machine_identity: bool,
    /// Whether a file is read, whose content is in no message.
    reads_file: bool,
    secrets: Vec<String>,
}

impl Common {
    fn take<K>(definition: &StorageDefinition<'_>, known: Options<K>, credentials: Credentials) -> Result<Self> {
        let mut common = Self {
            timeout: DEFAULT_TIMEOUT,
            allow_http: false,
            skip_signature: false,
            machine_identity: false,
            reads_file: definition.options.contains_key(SERVICE_ACCOUNT_PATH),
            secrets: Vec::new(),
        };
        for (name, value) in definition.options {
            match name.as_str() {
                TIMEOUT => {
                    let timeout = parse_duration(value).filter(|timeout| TIMEOUTS.contains(timeout));
                    let allowed = "a duration like '30s', from '100ms' to '10m'";
                    common.timeout = timeout.ok_or_else(|| invalid(name, value, allowed))?;
                }
                ALLOW_HTTP => common.allow_http = boolean(name, value)?,
                MACHINE_IDENTITY => common.machine_identity = boolean(name, value)?,
                SKIP_SIGNATURE => common.skip_signature = boolean(name, value)?,
                _ if !known.iter().any(|(known, _)| known == name) => {
                    let names: Vec<&str> =
                        known.iter().map(|(name, _)| *name).chain([TIMEOUT, ALLOW_HTTP, MACHINE_IDENTITY]).collect();
                    return Err(unknown(name, definition.storage_type, &names));
                }
                _ if is_secret_option(name) => common.secrets.push(value.clone()),
                _ => {}
            }
        }
        common.check_credentials(definition, credentials)?;
        match definition.options.get(ENDPOINT) {
            Some(endpoint) => common.check_endpoint(endpoint).map(|()| common),
            None => Ok(common),
        }
    }

    /// Whoever is not told who it is would be whoever the machine is.
    fn check_credentials(&self, definition: &StorageDefinition<'_>, credentials: Credentials) -> Result<()> {
        let given = |names: &&&[&str]| names.iter().all(|name| definition.options.contains_key(*name));
        let ways = usize::from(credentials.iter().any(|names| given(&names)))
            + usize::from(self.skip_signature)
            + usize::from(self.machine_identity);
        let message = match ways {
            1 if self.machine_identity && definition.options.contains_key(ENDPOINT) => {
                "option 'machine_identity' does not go with 'endpoint': whoever is there would get the machine's token"
                    .to_owned()
            }
            1 => return Ok(()),
            _ => {
                let names: Vec<String> = credentials.iter().map(|names| names.join(" with ")).collect();
                format!(
                    "a {} storage needs one of {}, {SKIP_SIGNATURE} = 'true' and {MACHINE_IDENTITY} = 'true'",
                    definition.storage_type.as_str(),
                    names.join(", ")
                )
            }
        };
        Err(SegmentError::InvalidOption(message))
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<()> {
        let is_plain = endpoint.starts_with("http://");
        // The address is shown in errors: it holds no password and no query.
        let is_address = (is_plain || endpoint.starts_with("https://")) && !endpoint.contains(['@', '?', '#']);
        let message = match (is_address, is_plain && !self.allow_http) {
            (true, false) => return Ok(()),
            (true, true) => "option 'endpoint' is not encrypted: it needs allow_http = 'true'",
            (false, _) => "option 'endpoint' is wrong: it is https://host, or http://host with allow_http = 'true'",
        };
        Err(SegmentError::InvalidOption(message.to_owned()))
    }

    /// A third of the time for one try, and no new one after two thirds: the last one has its time too.
    fn client(&self) -> ClientOptions {
        ClientOptions::new()
            .with_allow_http(self.allow_http)
            .with_connect_timeout(CONNECT_TIMEOUT.min(self.timeout / 3))
            .with_timeout(self.timeout / 3)
    }

    fn retry(&self) -> RetryConfig {
        let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
        RetryConfig { backoff, max_retries: RETRIES, retry_timeout: self.timeout / 3 * 2 }
    }

    fn storage<S: ObjectStore>(
        self,
        place: Place<'_>,
        built: object_store::Result<S>,
    ) -> Result<Arc<dyn SegmentStorage>> {
        let masked = super::object::masked(self.secrets.clone());
        let store = built.map_err(|error| {
            SegmentError::InvalidOption(if self.reads_file {
                format!(
                    "option '{SERVICE_ACCOUNT_PATH}' is wrong: it names a service account's key, as JSON, on the server"
                )
            } else {
                masked.message(&error)
            })
        })?;
        let prefix = place.prefix.to_owned();
        let args = ObjectStorageArgs { store: Arc::new(store), prefix, timeout: self.timeout, secrets: self.secrets };
        Ok(Arc::new(ObjectStorage::new(args)?))
    }
}

fn configure<B, K: Copy>(
    definition: &StorageDefinition<'_>,
    known: Options<K>,
    builder: B,
    with: impl Fn(B, K, String) -> B,
) -> B {
    known.iter().fold(builder, |builder, (name, key)| match definition.options.get(*name) {
        Some(value) => with(builder, *key, value.clone()),
        None => builder,
    })
}

fn boolean(name: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|_| invalid(name, value, "'true' or 'false'"))
}

fn invalid(name: &str, value: &str, allowed: &str) -> SegmentError {
    let shown: String = value.chars().take(80).collect();
    SegmentError::InvalidOption(format!("option '{name}' cannot be {shown:?}: {allowed}"))
}

/// Does not repeat it: somebody may have written a password there.
fn wrong_location(allowed: &str) -> SegmentError {
    SegmentError::InvalidOption(format!("option 'location' is wrong: it is {allowed}"))
}

fn unknown(name: &str, storage_type: StorageType, known: &[&str]) -> SegmentError {
    let shown: String = name.chars().take(80).collect();
    let kind = storage_type.as_str();
    SegmentError::InvalidOption(if known.is_empty() {
        format!("option '{shown}' is none of a {kind} storage: it has location and the path templates")
    } else {
        format!(
            "option '{shown}' is none of a {kind} storage: it has location, the path templates, {}",
            known.join(", ")
        )
    })
}

#[cfg(test)]
mod tests;
