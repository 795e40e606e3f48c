//! Buckets: S3, GCS, Azure, anything that `object_store` speaks to.
//!
//! What always holds:
//! - SE-6: every request ends within [`ObjectStorageArgs::timeout`], whatever the other side does.
//! - SE-7: no credential is in an error or in `Debug`: the store itself is never printed, queries are cut off
//!   addresses, and the secrets given at the beginning are masked wherever they turn up.
//! - SE-4: a bucket that is not there is no missing segment: its files are somewhere else, not gone.
//! - SE-3: an object appears whole or not at all (a put, or the end of a multipart upload).

mod message;
mod upload;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path as ObjectPath;
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutPayload};
use tokio::sync::Semaphore;
use ulid::Ulid;

use self::message::Masked;
use self::upload::{ObjectGroup, written};
use super::{FileTail, NOTE_LIMIT, SegmentGroup, SegmentStorage, too_long};
use crate::error::{Result, SegmentError};
use crate::path::SegmentPath;

/// Uploads at the same time, per storage.
const UPLOADS: usize = 16;
/// Deletions at the same time.
const DELETIONS: usize = 8;

/// What [`SegmentStorage::probe`] writes and removes again.
const PROBE: &str = ".kalamdb-probe-";

/// What hides secrets in messages.
pub(super) fn masked(secrets: Vec<String>) -> Masked {
    Masked::new(secrets)
}

/// What an [`ObjectStorage`] is made of.
pub struct ObjectStorageArgs {
    /// The client; its own retries and timeouts should be below `timeout`.
    pub store: Arc<dyn ObjectStore>,
    /// What all of its paths begin with, without `/` at its ends; may be empty.
    pub prefix: String,
    /// Longest time for one request with all of its retries.
    pub timeout: Duration,
    /// Texts that no message may hold.
    pub secrets: Vec<String>,
}

impl fmt::Debug for ObjectStorageArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorageArgs")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Segments in a bucket.
pub struct ObjectStorage {
    client: Arc<Client>,
}

/// What groups and reads share.
struct Client {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    timeout: Duration,
    masked: Masked,
    uploads: Arc<Semaphore>,
}

impl ObjectStorage {
    /// Segments below a prefix of a bucket.
    ///
    /// # Errors
    /// [`SegmentError::InvalidOption`] for a prefix that is no path.
    pub fn new(args: ObjectStorageArgs) -> Result<Self> {
        let ObjectStorageArgs { store, prefix, timeout, secrets } = args;
        if !prefix.is_empty() {
            SegmentPath::parse(&prefix)
                .map_err(|_| SegmentError::InvalidOption(format!("location: {prefix:?} is no path in a bucket")))?;
        }
        let uploads = Arc::new(Semaphore::new(UPLOADS));
        Ok(Self { client: Arc::new(Client { store, prefix, timeout, masked: Masked::new(secrets), uploads }) })
    }
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorage")
            .field("prefix", &self.client.prefix)
            .field("timeout", &self.client.timeout)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SegmentStorage for ObjectStorage {
    /// A bucket is its owner's to make.
    async fn prepare(&self) -> Result<()> {
        self.probe().await
    }

    async fn probe(&self) -> Result<()> {
        // A name of its own: other servers may use the bucket, at the same moment.
        let path = SegmentPath::parse(&format!("{PROBE}{}", Ulid::new()))?;
        let object = self.client.object(&path)?;
        let payload = PutPayload::from_static(PROBE.as_bytes());
        self.client.bounded("write", &path, self.client.store.put(&object, payload)).await.map_err(written)?;
        let read = self.read(&path, &[0..1, 2..3]).await.map_err(written);
        let deleted = self.delete(std::slice::from_ref(&path)).await;
        read.and(deleted)?;
        // Without the right to list the bucket a store says "forbidden" where nothing is, and nothing would be deleted.
        self.read_note(&path).await.map(drop)
    }

    fn begin_group(&self) -> Box<dyn SegmentGroup> {
        Box::new(ObjectGroup::new(Arc::clone(&self.client)))
    }

    async fn read(&self, path: &SegmentPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let object = self.client.object(path)?;
        let read = self.client.bounded("read", path, self.client.store.get_ranges(&object, ranges)).await?;
        let whole = read.len() == ranges.len()
            && read.iter().zip(ranges).all(|(bytes, range)| bytes.len() as u64 == range.end - range.start);
        if whole {
            return Ok(read);
        }
        Err(SegmentError::Damaged { path: path.to_string(), message: "it ends before what is needed".to_owned() })
    }

    async fn read_tail(&self, path: &SegmentPath, expected_size: u64, length: u64) -> Result<FileTail> {
        let object = self.client.object(path)?;
        // A suffix range would be simpler; Azure has none.
        let range = expected_size.saturating_sub(length)..expected_size;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let request = async {
            let answer = self.client.store.get_opts(&object, options).await?;
            let size = answer.meta.size;
            Ok(FileTail { bytes: answer.bytes().await?, size })
        };
        match self.client.bounded("read", path, request).await {
            // An object that is too short for the range is refused, in words of each store's own.
            Err(error @ SegmentError::Unavailable { .. }) => {
                let head = self.client.bounded("read", path, self.client.store.head(&object)).await;
                match head {
                    Ok(meta) if meta.size != expected_size => Ok(FileTail { bytes: Bytes::new(), size: meta.size }),
                    Ok(_) | Err(_) => Err(error),
                }
            }
            other => other,
        }
    }

    async fn delete(&self, paths: &[SegmentPath]) -> Result<()> {
        let delete = |path: SegmentPath| async move {
            let object = self.client.object(&path)?;
            match self.client.bounded("delete", &path, self.client.store.delete(&object)).await {
                Ok(()) | Err(SegmentError::Missing { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        stream::iter(paths.to_vec()).map(delete).buffer_unordered(DELETIONS).try_collect().await
    }

    async fn read_note(&self, path: &SegmentPath) -> Result<Option<Bytes>> {
        let object = self.client.object(path)?;
        let request = async {
            let answer = self.client.store.get(&object).await?;
            if answer.meta.size > NOTE_LIMIT { Ok(None) } else { answer.bytes().await.map(Some) }
        };
        match self.client.bounded("read", path, request).await {
            Ok(Some(content)) => Ok(Some(content)),
            Ok(None) => Err(too_long(path)),
            Err(SegmentError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write_note(&self, path: &SegmentPath, content: Bytes) -> Result<()> {
        let object = self.client.object(path)?;
        let put = self.client.store.put(&object, PutPayload::from_bytes(content));
        self.client.bounded("write", path, put).await.map_err(written).map(drop)
    }
}

impl Client {
    fn object(&self, path: &SegmentPath) -> Result<ObjectPath> {
        let text = if self.prefix.is_empty() { path.to_string() } else { format!("{}/{path}", self.prefix) };
        ObjectPath::parse(&text).map_err(|error| SegmentError::Misused(format!("no path of an object: {error}")))
    }

    /// Waits for a request, but not for ever, and says what it was about if it fails.
    async fn bounded<T>(
        &self,
        action: &'static str,
        path: &SegmentPath,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(StoreError::NotFound { .. })) => Err(self.missing(action, path).await),
            Ok(Err(error)) => Err(self.unavailable(action, path, &error)),
            Err(_) => {
                let message = format!("no answer within {} s", self.timeout.as_secs_f64());
                Err(SegmentError::Unavailable { action, path: path.to_string(), message })
            }
        }
    }

    /// What is not there, and whether it could be: stores answer alike for an object and for a whole bucket.
    async fn missing(&self, action: &'static str, path: &SegmentPath) -> SegmentError {
        let unavailable = |message| SegmentError::Unavailable { action, path: path.to_string(), message };
        match tokio::time::timeout(self.timeout, self.store.list(None).next()).await {
            Ok(None | Some(Ok(_))) => SegmentError::Missing { path: path.to_string() },
            Ok(Some(Err(StoreError::NotFound { .. }))) => unavailable("the bucket was not found".to_owned()),
            Ok(Some(Err(error))) => unavailable(self.masked.message(&error)),
            Err(_) => unavailable("no answer to whether the bucket is there".to_owned()),
        }
    }

    fn unavailable(&self, action: &'static str, path: &SegmentPath, error: &StoreError) -> SegmentError {
        SegmentError::Unavailable { action, path: path.to_string(), message: self.masked.message(error) }
    }
}

#[cfg(test)]
mod tests;
