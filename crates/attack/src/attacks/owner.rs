//! Writes to an owner whose row another session holds.

use std::time::Duration;

use anyhow::Result;
use earmark::proto::allocation::v1::CreateAllocationRequest;
use earmark::proto::common::v1::Amount;
use futures_util::future::LocalBoxFuture;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_SMALL};
use crate::wire;

/// More creates of one locked owner than the server takes calls: each waits for the lock, and keeps its place.
pub(crate) struct OwnerAttack;

impl Attack for OwnerAttack {
    fn name(&self) -> &'static str {
        "owner"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 5,
            callers: 900,
            window: WINDOW_SMALL,
            pause: Duration::from_millis(500),
        };
        Box::pin(async move {
            let (mut client, connection) =
                tokio_postgres::connect(&target.database_url, NoTls).await?;
            tokio::spawn(connection);
            let lock = client.transaction().await?;
            let sql = "SELECT 1 FROM owner WHERE owner_id = $1 FOR UPDATE";
            lock.query_one(sql, &[&target.enterprise]).await?;
            let call = async |mut sender, _caller| {
                let path = "/earmark.allocation.v1.AllocationService/CreateAllocation";
                let head = wire::head(target, path, Some(&target.token))?;
                wire::call(&mut sender, head, wire::frame(&create(target))).await?;
                Ok(())
            };
            flood.run(target, call).await
        })
    }
}

fn create(target: &AttackTarget) -> CreateAllocationRequest {
    CreateAllocationRequest {
        enterprise_id: target.enterprise.to_string(),
        connection_id: target.connection.to_string(),
        amount: Some(Amount {
            currency: "BTC".into(),
            quantity: "1".into(),
        }),
        client_external_id: Uuid::new_v4().to_string(),
        ..Default::default()
    }
}
