//! What replicas claim of the buckets that their Envoys share, kept in the store under a key for each replica.

use std::time::Duration;

use redis::{RedisError, RedisResult};
use tokio::time::timeout;

use super::StoreClient;
use super::connection::ReadyConnection;
use crate::shares::{Claims, ReplicaId};
use crate::store::StoreError;

/// How long claims are kept after they were written: as long as the share of an Envoy is kept whose stream has ended, since
/// its streams have ended with a replica that writes no more.
const KEPT: Duration = Duration::from_secs(6);

impl StoreClient {
    /// The other replicas that share the store and are there.
    pub fn other_replicas(&self) -> Vec<ReplicaId> {
        self.store.presence.others().into_iter().map(ReplicaId).collect()
    }

    /// Writes what this replica claims, and reads what `others` do, of whom some may have ended.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without a connection or a reply in time.
    pub async fn exchange_claims(
        &self,
        own: &Claims,
        others: &[ReplicaId],
    ) -> Result<Vec<(ReplicaId, Claims)>, StoreError> {
        let unavailable = |reason: String| StoreError::Unavailable(reason.into());
        let Some(ready) = self.connected() else {
            return Err(unavailable("no connection".to_owned()));
        };
        match timeout(self.store.timeout, self.exchange(&ready, own, others)).await {
            Ok(Ok(claims)) => Ok(claims),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable("no reply in time".to_owned())),
        }
    }

    async fn exchange(
        &self,
        ready: &ReadyConnection,
        own: &Claims,
        others: &[ReplicaId],
    ) -> RedisResult<Vec<(ReplicaId, Claims)>> {
        let mut connection = ready.connection.clone();
        let names = &self.store.names;
        let mut set = redis::cmd("SET");
        set.arg(names.claims(self.store.presence.id())).arg(own.to_bytes());
        connection.send(set.arg("PX").arg(KEPT.as_millis())).await?;
        let mut claims = Vec::with_capacity(others.len());
        for id in others {
            let reply = connection.send(redis::cmd("GET").arg(names.claims(id.0))).await?;
            let bytes: Option<Vec<u8>> =
                redis::from_redis_value(reply).map_err(RedisError::from)?;
            // Those of a version with another format are not known.
            claims.extend(bytes.and_then(|bytes| Some((*id, Claims::from_bytes(&bytes)?))));
        }
        Ok(claims)
    }
}
