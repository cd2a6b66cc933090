//! What replicas claim of the buckets that their Envoys share, kept in the store under a key for each replica; and which
//! replica has Envoys of a bucket first.

use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::time::timeout;

use super::StoreClient;
use super::connection::Connection;
use crate::policy::fingerprint::Fingerprint;
use crate::shares::{Claims, ReplicaId};
use crate::store::StoreError;

/// How long claims are kept after they were written: as long as the share of an Envoy is kept whose stream has ended, since
/// its streams have ended with a replica that writes no more.
const KEPT: Duration = Duration::from_secs(6);

/// For how long a replica is the first with Envoys of a bucket: longer than it takes until its claims are known to others.
const FIRST: Duration = Duration::from_secs(3);

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
        self.in_time(async |connection| self.exchange(connection, own, others).await).await
    }

    /// Says of each of these buckets whether this replica is the first with Envoys that share it, or the only one for some
    /// seconds; also where it has been so for a moment, and a reload made it begin again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without a connection or a reply in time.
    pub async fn are_first(&self, buckets: &[Fingerprint]) -> Result<Vec<bool>, StoreError> {
        let own = self.store.presence.id();
        // Older stores have no SET that does not write and returns what is there.
        let set_and_get = |bucket: &Fingerprint| {
            let name = self.store.names.first(*bucket);
            let mut set = redis::cmd("SET");
            set.arg(&name).arg(own).arg("NX").arg("PX").arg(FIRST.as_millis());
            [set, redis::cmd("GET").arg(name).to_owned()]
        };
        let replies = self.in_time(async |connection| {
            connection.send_all(buckets.iter().flat_map(set_and_get).collect()).await
        });
        let is_own = |reply: RedisResult<Value>| {
            reply
                .and_then(|value| Ok(redis::from_redis_value::<u64>(value)?))
                .is_ok_and(|id| id == own)
        };
        Ok(replies.await?.into_iter().skip(1).step_by(2).map(is_own).collect())
    }

    async fn in_time<T>(
        &self,
        ask: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let Some(ready) = self.connected() else {
            return Err(StoreError::Unavailable("no connection".into()));
        };
        let mut connection = ready.connection.clone();
        match timeout(self.store.timeout, ask(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
            Err(_) => Err(StoreError::Unavailable("no reply in time".into())),
        }
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        own: &Claims,
        others: &[ReplicaId],
    ) -> RedisResult<Vec<(ReplicaId, Claims)>> {
        let names = &self.store.names;
        let mut set = redis::cmd("SET");
        set.arg(names.claims(self.store.presence.id())).arg(own.to_bytes());
        connection.send(set.arg("PX").arg(KEPT.as_millis())).await?;
        let get = |id: &ReplicaId| redis::cmd("GET").arg(names.claims(id.0)).to_owned();
        let replies = connection.send_all(others.iter().map(get).collect()).await?;
        let mut claims = Vec::with_capacity(others.len());
        for (id, reply) in others.iter().zip(replies) {
            let bytes: Option<Vec<u8>> = reply.ok().and_then(|of| redis::from_redis_value(of).ok());
            // Those of a version with another format are not known.
            claims.extend(bytes.and_then(|bytes| Some((*id, Claims::from_bytes(&bytes)?))));
        }
        Ok(claims)
    }
}
