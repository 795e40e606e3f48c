//! Where storage `local` was at the first start: it cannot move while segments lie there.

use kalamdb_commons::{Family, Result};

use crate::backend::{Batch, Snapshot};
use crate::codec::meta::LocalLocation;
use crate::codec::system;
use crate::read::get;

/// The recorded location; none before the first start.
///
/// # Errors
/// When the backend cannot be read, or the record does not decode.
pub async fn local(snapshot: &dyn Snapshot) -> Result<Option<LocalLocation>> {
    let value = get(snapshot, Family::System, system::local_location()).await?;
    Ok(value.map(|bytes| LocalLocation::decode(&bytes)).transpose()?)
}

/// Records the location.
pub fn put_local(batch: &mut Batch, location: &LocalLocation) {
    batch.put(Family::System, system::local_location(), location.encode());
}
