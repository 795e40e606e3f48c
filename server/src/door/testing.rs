//! For tests: a door over an engine in memory.

use std::sync::Arc;

use kalamdb_commons::settings::Settings;
use kalamdb_core::{Engine, EngineArgs};

use super::Door;
use crate::BUILD;
use crate::auth::Authenticator;

/// With default settings, and no way in but the localhost rule's.
pub(super) async fn door() -> Arc<Door> {
    let mut settings = Settings::default();
    settings.storage.backend = "memory".to_owned();
    let settings = Arc::new(settings);
    let args = EngineArgs { settings: Arc::clone(&settings), build: BUILD };
    let engine = Engine::start(args).await.expect("the engine starts");
    let authenticator = Authenticator::from_settings(&settings).expect("no key");
    Arc::new(Door::new(settings, engine, authenticator))
}
