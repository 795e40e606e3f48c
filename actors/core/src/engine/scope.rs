//! A statement's surroundings and its bounds: who runs it, until when, and who may call it off.

use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Identity, NamespaceId, Result, UserId};
use kalamdb_sql::ParsedStatement;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Runtime;
use super::context::StatementContext;

/// Statements nested deeper, or longer, are planned apart from the others.
const HEAVY_DEPTH: usize = 200;
const HEAVY_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) identity: Identity,
    pub(crate) header_user: Option<UserId>,
    pub(crate) namespace: NamespaceId,
    /// Whether planning may take long.
    pub(crate) is_heavy: bool,
    limits: Limits,
}

/// When a statement ends whether it is done or not.
#[derive(Debug, Clone)]
struct Limits {
    deadline: Instant,
    cancel: CancellationToken,
}

tokio::task_local! {
    /// Those of the statement that this task works on, for code too deep to be handed them.
    static LIMITS: Limits;
}

/// An error once the statement that this task works on was called off or is out of time.
pub(crate) fn still_wanted() -> Result<()> {
    let check = |limits: &Limits| {
        if limits.cancel.is_cancelled() {
            return Err(called_off());
        }
        if Instant::now() >= limits.deadline {
            return Err(out_of_time());
        }
        Ok(())
    };
    // Outside of a statement nothing is limited.
    LIMITS.try_with(check).unwrap_or(Ok(()))
}

fn called_off() -> Error {
    Error::new(ErrorCode::ShuttingDown, "the statement was cancelled; nothing was changed")
}

fn out_of_time() -> Error {
    Error::new(ErrorCode::Timeout, "the statement ran past server.request_timeout; nothing was changed")
}

impl Scope {
    /// A scope whose time begins now; `statement` is what it is for.
    pub(crate) fn new(
        runtime: &Arc<Runtime>,
        identity: &Identity,
        header_user: Option<&UserId>,
        namespace: &NamespaceId,
        cancel: &CancellationToken,
        statement: &ParsedStatement,
    ) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            identity: identity.clone(),
            header_user: header_user.cloned(),
            namespace: namespace.clone(),
            is_heavy: statement.depth > HEAVY_DEPTH || statement.text.len() > HEAVY_BYTES,
            limits: Limits {
                deadline: Instant::now() + runtime.settings().server.request_timeout,
                cancel: cancel.clone(),
            },
        }
    }

    /// Runs what may be given up: everything but a commit.
    ///
    /// # Errors
    /// [`ErrorCode::Timeout`] past the statement's time, [`ErrorCode::ShuttingDown`] when it was called
    /// off; nothing was changed then.
    pub(crate) async fn bound<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.limits.cancel.cancelled() => Err(called_off()),
            () = tokio::time::sleep_until(self.limits.deadline) => Err(out_of_time()),
            result = LIMITS.scope(self.limits.clone(), work) => result,
        }
    }

    /// Takes catalog and snapshot; `now` where an earlier attempt has fixed the statement's time.
    pub(crate) async fn begin(&self, now: Option<i64>) -> Result<Arc<StatementContext>> {
        StatementContext::begin(self, now).await
    }
}
