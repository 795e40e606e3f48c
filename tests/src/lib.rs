//! The harness of the tests that see KalamDB from outside: servers to test against, a client, and
//! ways to say what an answer should be.
//!
//! Three servers: [`TestServer`] in this process on a port of its own (or the server named by
//! `KALAMDB_TEST_URL`), [`BinaryServer`] the real program that can be killed and started again. What a
//! test makes lives in a namespace of its own, so that tests never meet.
//!
//! Functions here panic with everything a reader of the failure needs; they are for tests only.

mod answer;
mod binary;
mod client;
mod live;
mod raw;
mod server;
mod wait;

pub use answer::Answer;
pub use binary::{BinaryServer, free_port, program, repository_path};
pub use client::{Client, Role, SECRET, signed_token, token};
pub use live::{Credentials, LiveClient, LiveSocket, Refused, Replay, Said, Subscription};
pub use raw::{RawAnswer, RawConnection};
pub use server::TestServer;
pub use wait::{eventually, now_seconds, unique};
