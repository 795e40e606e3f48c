//! Live queries as a client sees them: a raw socket for tests that look at single frames, and the reference client, which
//! connects again where it was and keeps the result of its queries.

mod client;
mod replay;
mod socket;

pub use client::{LiveClient, Subscription};
pub use replay::Replay;
pub use socket::{Credentials, LiveSocket, Refused, Said};
