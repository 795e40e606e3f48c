use std::ops::Range as StdRange;

use futures::stream::BoxStream;
use kalamdb_commons::ErrorCode;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions, PutResult,
};

use super::*;
use crate::storage::SegmentSink;

const SECRET: &str = "hunter2-secret-key";

fn ranges(only: Range<u64>) -> Vec<Range<u64>> {
    Vec::from([only])
}

fn path(text: &str) -> SegmentPath {
    SegmentPath::parse(text).expect("a path")
}

fn over(store: impl ObjectStore, timeout: Duration) -> ObjectStorage {
    let args = ObjectStorageArgs {
        store: Arc::new(store),
        prefix: "kalam/db".to_owned(),
        timeout,
        secrets: vec![SECRET.to_owned()],
    };
    assert!(!format!("{args:?}").contains(SECRET));
    ObjectStorage::new(args).expect("a storage")
}

async fn write(storage: &ObjectStorage, files: Vec<(&'static str, Vec<u8>)>) -> Result<()> {
    let group = storage.begin_group();
    let task = tokio::task::spawn_blocking(move || {
        for (name, bytes) in files {
            let mut sink: Box<dyn SegmentSink> = group.create(&path(name))?;
            if let Err(error) = sink.write_all(&bytes) {
                return Ok(Err((group, crate::error::sink_error(&error).expect("an error of ours"))));
            }
            sink.finish()?;
        }
        Ok::<_, SegmentError>(Ok(group))
    });
    match task.await.expect("no panic")? {
        Ok(group) => group.commit().await,
        Err((group, error)) => {
            group.abort().await;
            Err(error)
        }
    }
}

#[tokio::test]
async fn objects_are_written_read_and_deleted() {
    let store = Arc::new(InMemory::new());
    let storage = over(Arc::clone(&store), Duration::from_secs(10));
    let large: Vec<u8> = (0..20_u32 << 20).map(|at| (at % 251) as u8).collect();
    let files = vec![
        ("u%2Fann/x.parquet", b"small".to_vec()),
        ("large.parquet", large.clone()),
        ("exact.parquet", vec![1; 8 << 20]),
    ];
    write(&storage, files).await.expect("durable");
    let object = ObjectPath::parse("kalam/db/u%2Fann/x.parquet").expect("a path");
    assert!(store.head(&object).await.is_ok(), "the path is as it is, not encoded again");
    let read = storage.read(&path("u%2Fann/x.parquet"), &[0..2, 4..5]).await.expect("read");
    assert_eq!(read, [b"sm".as_slice(), b"l".as_slice()]);
    let size = large.len() as u64;
    let tail = storage.read_tail(&path("large.parquet"), size, 1000).await.expect("read");
    assert_eq!((tail.size, tail.bytes.as_ref()), (size, &large[large.len() - 1000..]));
    let read = storage.read(&path("large.parquet"), &ranges(0..size)).await.expect("read");
    assert!(read[0] == large);
    for expected in [size - 1, size + 1, size + 5000] {
        let tail = storage.read_tail(&path("large.parquet"), expected, 1000).await.expect("another size");
        assert_eq!(tail.size, size);
    }
    let paths = ["u%2Fann/x.parquet", "large.parquet", "exact.parquet"].map(path);
    storage.delete(&paths).await.expect("deleted");
    storage.delete(&paths).await.expect("deleting what is gone is a success");
    assert!(matches!(storage.read(&paths[0], &ranges(0..1)).await, Err(SegmentError::Missing { .. })));
    assert!(matches!(storage.read_tail(&paths[0], 5, 1).await, Err(SegmentError::Missing { .. })));
    assert!(store.list(None).collect::<Vec<_>>().await.is_empty());
}

#[tokio::test]
async fn an_unfinished_object_fails_its_group_and_leaves_nothing() {
    let store = Arc::new(InMemory::new());
    let storage = over(Arc::clone(&store), Duration::from_secs(10));
    for bytes in [10, 20 << 20] {
        let group = storage.begin_group();
        let group = tokio::task::spawn_blocking(move || {
            group.create(&path("a.parquet")).expect("begun").finish().expect("finished");
            let mut unfinished = group.create(&path("b.parquet")).expect("begun");
            unfinished.write_all(&vec![0; bytes]).expect("written");
            group
        })
        .await
        .expect("no panic");
        assert!(group.commit().await.is_err());
        assert!(store.list(None).collect::<Vec<_>>().await.is_empty());
    }
}

/// A store that fails, or never answers.
#[derive(Debug)]
struct Broken {
    hangs: bool,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl Broken {
    async fn fail<T>(&self) -> object_store::Result<T> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let message = format!("500 of http://host/b?X-Amz-Signature=abcdef with key {SECRET}");
        Err(StoreError::Generic { store: "broken", source: message.into() })
    }
}

#[async_trait]
impl ObjectStore for Broken {
    async fn put_opts(&self, _: &ObjectPath, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        self.fail().await
    }

    async fn put_multipart_opts(
        &self,
        _: &ObjectPath,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.fail().await
    }

    async fn get_opts(&self, _: &ObjectPath, _: GetOptions) -> object_store::Result<GetResult> {
        self.fail().await
    }

    async fn get_ranges(&self, _: &ObjectPath, _: &[StdRange<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.fail().await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<ObjectPath>>,
    ) -> BoxStream<'static, object_store::Result<ObjectPath>> {
        let hangs = self.hangs;
        locations.then(move |_| async move { Broken { hangs }.fail().await }).boxed()
    }

    fn list(&self, _: Option<&ObjectPath>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        panic!("nothing is ever listed")
    }

    async fn list_with_delimiter(&self, _: Option<&ObjectPath>) -> object_store::Result<ListResult> {
        panic!("nothing is ever listed")
    }

    async fn copy_opts(&self, _: &ObjectPath, _: &ObjectPath, _: CopyOptions) -> object_store::Result<()> {
        panic!("nothing is ever copied")
    }
}

#[tokio::test]
async fn a_store_that_fails_or_hangs_is_bounded_and_tells_no_secret() {
    for hangs in [false, true] {
        let storage = over(Broken { hangs }, Duration::from_millis(50));
        let begun = std::time::Instant::now();
        for (what, outcome) in [
            ("write", storage.prepare().await),
            ("read", storage.read(&path("a.parquet"), &ranges(0..1)).await.map(drop)),
            ("read", storage.read_tail(&path("a.parquet"), 10, 5).await.map(drop)),
            ("delete", storage.delete(&[path("a.parquet")]).await),
            ("read", storage.read_note(&path("a.parquet")).await.map(drop)),
            ("write", storage.write_note(&path("a.parquet"), Bytes::from_static(b"x")).await),
            ("write", write(&storage, vec![("a.parquet", b"x".to_vec())]).await),
            ("write", write(&storage, vec![("a.parquet", vec![0; 40 << 20])]).await),
        ] {
            let error = outcome.expect_err(what);
            assert_eq!(error.code(), ErrorCode::StorageUnavailable, "{error}");
            let text = format!("{error} {error:?}");
            assert!((text.contains("a.parquet") || text.contains("probe")) && text.contains(what), "{text}");
            assert!(!text.contains(SECRET) && !text.contains("abcdef"), "{text}");
            assert!(!hangs || text.contains("no answer"), "{text}");
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        assert!(!format!("{storage:?}").contains(SECRET));
    }
}

#[test]
fn a_prefix_is_a_path() {
    for prefix in ["../x", "a//b", "/a", "a/"] {
        let args = ObjectStorageArgs {
            store: Arc::new(InMemory::new()),
            prefix: prefix.to_owned(),
            timeout: Duration::from_secs(1),
            secrets: Vec::new(),
        };
        assert_eq!(ObjectStorage::new(args).expect_err(prefix).code(), ErrorCode::InvalidOption);
    }
}
