//! What is said: the bodies of KalamDB's HTTP interface and the frames of its WebSocket as types.
//!
//! This crate knows how a body looks, never what it means: the door turns a [`SqlRequestBody`] into a
//! statement for the engine, and the engine's results into a [`SqlResponse`]. Rows travel as JSON text
//! that the engine wrote straight from its columns ([`RawRows`]); they are copied into the answer and
//! never parsed again.

mod error;
mod live;
mod object;
mod request;
mod response;
mod rows;
mod status;

pub use error::{ErrorBody, ErrorObject, ErrorTag};
pub use live::{
    BadSubscription, ChangeType, ClientFrame, CloseReason, FrameHead, FrameTail, JsonRows, MAX_QUERY_ID_CHARS,
    RowChanges, ServerFrame, SubscribeOptions, SubscribeRequest, change_frames, initial_frames,
};
pub use request::{MAX_PARAMS, SqlRequestBody};
pub use response::{Column, PlanCache, SqlResponse, StatementResult, SuccessTag};
pub use rows::RawRows;
pub use status::{
    ActorNode, FlushOverview, FlushedTable, Health, LiveOverview, PlanCacheOverview, Ready, SessionEntry,
};
