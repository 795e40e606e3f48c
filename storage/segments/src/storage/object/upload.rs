//! Files of a bucket being written: parts travel while the next ones are encoded, so memory is bounded by a few parts
//! per file.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{FuturesUnordered, TryStreamExt as _};
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Client;
use crate::error::{Result, SegmentError, SinkError};
use crate::path::SegmentPath;
use crate::storage::{SegmentGroup, SegmentSink, SegmentStorage as _};

/// Size of a part; buckets want 5 MiB at least, and 10 000 parts at most.
const PART_BYTES: usize = 8 << 20;
/// Parts of one file on their way at the same time.
const PARTS_IN_FLIGHT: usize = 2;

/// A group of [`ObjectStorage`](super::ObjectStorage).
pub(super) struct ObjectGroup {
    client: Arc<Client>,
    begun: Mutex<Vec<SegmentPath>>,
    uploads: Mutex<JoinSet<Result<()>>>,
}

/// What a sink tells its upload. If the sink is dropped without [`Piece::Last`], the upload is given up.
enum Piece {
    Part(Bytes),
    Last(Bytes),
}

impl ObjectGroup {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, begun: Mutex::default(), uploads: Mutex::default() }
    }
}

impl fmt::Debug for ObjectGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectGroup").field("begun", &self.begun.lock()).finish_non_exhaustive()
    }
}

#[async_trait]
impl SegmentGroup for ObjectGroup {
    fn create(&self, path: &SegmentPath) -> Result<Box<dyn SegmentSink>> {
        let runtime = Handle::try_current()
            .map_err(|_| SegmentError::Misused("an object is written on a thread without a runtime".to_owned()))?;
        let (sender, receiver) = mpsc::channel(1);
        let failure = Arc::new(Mutex::new(None));
        let upload = Upload { client: Arc::clone(&self.client), path: path.clone() };
        let told = Arc::clone(&failure);
        self.begun.lock().push(path.clone());
        self.uploads.lock().spawn_on(
            async move {
                let mut pieces = receiver;
                let outcome = upload.run(&mut pieces).await;
                // While the receiver is there still: who finds it gone finds the reason too.
                if let Err(error) = &outcome {
                    *told.lock() = Some(error.clone());
                }
                outcome
            },
            &runtime,
        );
        Ok(Box::new(ObjectSink { path: path.clone(), part: BytesMut::new(), sender, failure }))
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let mut uploads = std::mem::take(&mut *self.uploads.lock());
        let mut outcome = Ok(());
        while let Some(ended) = uploads.join_next().await {
            let result = ended.unwrap_or_else(|error| {
                let message = format!("its upload was lost: {error}");
                Err(SegmentError::Unavailable { action: "write", path: String::new(), message })
            });
            outcome = outcome.and(result);
            if outcome.is_err() {
                uploads.abort_all();
            }
        }
        if outcome.is_err() {
            self.abort().await;
        }
        outcome
    }

    async fn abort(self: Box<Self>) {
        let mut uploads = std::mem::take(&mut *self.uploads.lock());
        uploads.shutdown().await;
        let begun = std::mem::take(&mut *self.begun.lock());
        let storage = super::ObjectStorage { client: Arc::clone(&self.client) };
        if let Err(error) = storage.delete(&begun).await {
            tracing::debug!(%error, "objects of a group given up remain, for the pending list to remove");
        }
    }
}

/// One file on its way.
struct Upload {
    client: Arc<Client>,
    path: SegmentPath,
}

impl Upload {
    async fn run(self, pieces: &mut mpsc::Receiver<Piece>) -> Result<()> {
        match pieces.recv().await {
            None => Err(self.ended_early()),
            Some(Piece::Last(bytes)) => {
                let object = self.client.object(&self.path)?;
                let _place = self.place().await?;
                let put = self.client.store.put(&object, PutPayload::from_bytes(bytes));
                self.client.bounded("write", &self.path, put).await.map_err(written).map(drop)
            }
            Some(Piece::Part(first)) => self.run_multipart(first, pieces).await,
        }
    }

    async fn run_multipart(&self, first: Bytes, pieces: &mut mpsc::Receiver<Piece>) -> Result<()> {
        let object = self.client.object(&self.path)?;
        let _place = self.place().await?;
        let begin = self.client.store.put_multipart(&object);
        let mut upload = self.client.bounded("write", &self.path, begin).await.map_err(written)?;
        let outcome = self.send_parts(upload.as_mut(), first, pieces).await;
        if outcome.is_err() {
            // Parts that stay cost money; the bucket's lifecycle rules are the last resort.
            let _ = self.client.bounded("abort", &self.path, upload.abort()).await;
        }
        outcome
    }

    async fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        first: Bytes,
        pieces: &mut mpsc::Receiver<Piece>,
    ) -> Result<()> {
        let mut in_flight = FuturesUnordered::new();
        let mut next = Some(Piece::Part(first));
        loop {
            let (bytes, is_last) = match next {
                None => return Err(self.ended_early()),
                Some(Piece::Part(bytes)) => (bytes, false),
                Some(Piece::Last(bytes)) => (bytes, true),
            };
            if !bytes.is_empty() {
                let part = upload.put_part(PutPayload::from_bytes(bytes));
                in_flight.push(self.client.bounded("write", &self.path, part));
            }
            let most = if is_last { 0 } else { PARTS_IN_FLIGHT - 1 };
            while in_flight.len() > most {
                in_flight.try_next().await.map_err(written)?;
            }
            if is_last {
                drop(in_flight);
                return self.client.bounded("write", &self.path, upload.complete()).await.map_err(written).map(drop);
            }
            next = pieces.recv().await;
        }
    }

    async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.client.uploads.acquire().await.map_err(|_| SegmentError::Misused("the uploads are closed".to_owned()))
    }

    fn ended_early(&self) -> SegmentError {
        SegmentError::Misused(format!("'{}' was begun and not finished", self.path))
    }
}

/// A bucket that is not found while it is written is no missing segment.
pub(super) fn written(error: SegmentError) -> SegmentError {
    match error {
        SegmentError::Missing { path } => {
            SegmentError::Unavailable { action: "write", path, message: "the bucket was not found".to_owned() }
        }
        other => other,
    }
}

/// One file of the group.
struct ObjectSink {
    path: SegmentPath,
    part: BytesMut,
    sender: mpsc::Sender<Piece>,
    failure: Arc<Mutex<Option<SegmentError>>>,
}

impl ObjectSink {
    fn send(&self, piece: Piece) -> Result<()> {
        self.sender.blocking_send(piece).map_err(|_| {
            self.failure.lock().clone().unwrap_or_else(|| SegmentError::Unavailable {
                action: "write",
                path: self.path.to_string(),
                message: "its upload has ended".to_owned(),
            })
        })
    }
}

impl fmt::Debug for ObjectSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectSink").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Write for ObjectSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at(bytes.len().min(PART_BYTES - self.part.len()));
        self.part.extend_from_slice(now);
        if self.part.len() == PART_BYTES {
            let part = self.part.split().freeze();
            self.send(Piece::Part(part)).map_err(|error| io::Error::other(SinkError::from(error)))?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentSink for ObjectSink {
    fn finish(mut self: Box<Self>) -> Result<()> {
        let last = self.part.split().freeze();
        self.send(Piece::Last(last))
    }
}
