//! The frames of `GET /ws`: what a client says, and what it is told.
//!
//! Frames from the client are read strictly, but one bad subscription of a frame is its own error, and the others go on.
//! Frames to the client that carry rows are written in two halves, a [`FrameHead`] of the one subscription and a
//! [`FrameTail`] that all subscriptions with the same query share.

mod client;
mod data;
mod rows;
mod server;

pub use client::{BadSubscription, ClientFrame, MAX_QUERY_ID_CHARS, SubscribeOptions, SubscribeRequest};
pub use data::{ChangeType, FrameHead, FrameTail, RowChanges, change_frames, initial_frames};
pub use rows::JsonRows;
pub use server::{CloseReason, ServerFrame};
