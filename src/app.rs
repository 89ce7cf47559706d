//! What a process that serves has, made once: pools, writer, and the services on them.

use std::io;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::allocation::AllocationService;
use crate::balance::BalanceService;
use crate::bucket::BucketService;
use crate::cas::CasAllocationService;
use crate::catalogue::CatalogueService;
use crate::db::connect::Connector;
use crate::db::migrate;
use crate::db::pool::{self, Pool, PoolSettings};
use crate::ledger::expiry;
use crate::ledger::writer::{Ended, Writer, WriterSettings};
use crate::limits::{COALESCED_STATEMENTS_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use crate::network::NetworkService;
use crate::proto::allocation::v1::allocation_service_server::AllocationServiceServer;
use crate::proto::balance::v1::balance_service_server::BalanceServiceServer;
use crate::proto::bucket::v1::bucket_service_server::BucketServiceServer;
use crate::proto::cas::v1::cas_allocation_service_server::CasAllocationServiceServer;
use crate::proto::catalogue::v1::catalogue_service_server::CatalogueServiceServer;
use crate::proto::network::v1::network_service_server::NetworkServiceServer;
use crate::server::ClosingHook;
use crate::server::health::{Probe, probe};

/// How a process uses its database.
#[derive(Clone, Debug, Default)]
pub struct AppSettings {
    /// For reads and the small writes.
    pub pool: PoolSettings,
    /// For the writes that move value.
    pub writer: WriterSettings,
}

/// What a process shares between its calls.
pub struct App {
    /// For reads and the small writes.
    pub pool: Pool,
    /// For reads by id, which go together: one connection for each statement at a time.
    by_id: Pool,
    /// For the writes that move value.
    pub writer: Writer,
    writing: Vec<Ended>,
    sweeping: JoinHandle<()>,
    stop_sweeping: CancellationToken,
    /// For connections that are no pool's.
    connector: Connector,
    /// One connection of the probe's own: a pool that is all in use is no reason to call the database gone.
    probing: Pool,
}

impl App {
    /// Starts on a database that need not answer yet: until it does, health says NOT_SERVING.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn start(connector: Connector, settings: &AppSettings) -> io::Result<Self> {
        let one = PoolSettings {
            max_size: 1,
            min_idle: 1,
            ..PoolSettings::default()
        };
        let (writer, writing) = Writer::start(&connector, &settings.writer)?;
        let pool = pool::open(connector.clone(), &settings.pool);
        let for_coalesced = PoolSettings {
            max_size: COALESCED_STATEMENTS_MAX,
            min_idle: 1,
            ..settings.pool.clone()
        };
        let by_id = pool::open(
            connector.adjusted(|session| session.generic_plans = true),
            &for_coalesced,
        );
        let stop_sweeping = CancellationToken::new();
        let sweeping = expiry::sweep(pool.clone(), writer.clone(), stop_sweeping.clone());
        Ok(Self {
            pool,
            by_id,
            probing: pool::open(connector.clone(), &one),
            connector,
            writer,
            writing,
            sweeping,
            stop_sweeping,
        })
    }

    /// Every service, with its limits: the one place where services are wired.
    pub fn routes(&self) -> Routes {
        let allocation =
            AllocationService::new(self.pool.clone(), self.by_id.clone(), self.writer.clone());
        let balance = BalanceService::new(
            self.pool.clone(),
            self.writer.clone(),
            self.connector.clone(),
        );
        let bucket = BucketService::new(self.pool.clone(), self.writer.clone());
        let cas = CasAllocationService::new(self.pool.clone());
        let catalogue = CatalogueService::new(self.pool.clone());
        let network = NetworkService::new(self.pool.clone());
        Routes::new(
            AllocationServiceServer::new(allocation)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
        )
        .add_service(
            BalanceServiceServer::new(balance)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
        )
        .add_service(
            BucketServiceServer::new(bucket)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
        )
        .add_service(
            CasAllocationServiceServer::new(cas)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
        )
        .add_service(
            CatalogueServiceServer::new(catalogue)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
        )
        .add_service(
            NetworkServiceServer::new(network)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(RESPONSE_BYTES_MAX),
        )
    }

    /// Whether the database answers and has every migration.
    pub fn probe(&self) -> Probe {
        let pool = self.probing.clone();
        probe(move || {
            let pool = pool.clone();
            async move { matches!(migrate::is_current(&pool).await, Ok(true)) }
        })
    }

    /// What must be closed when no call is left, in order: the writer carries out what it has, then the pools go.
    pub fn closing(self) -> Vec<ClosingHook> {
        let Self {
            pool,
            by_id,
            writer,
            writing,
            sweeping,
            stop_sweeping,
            probing,
            connector: _,
        } = self;
        let stop = async move {
            stop_sweeping.cancel();
            if let Err(error) = sweeping.await {
                tracing::error!(%error, "the sweep failed");
            }
        };
        let flush = async move {
            writer.close();
            for ended in join_all(writing).await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a writer failed");
                }
            }
        };
        vec![
            ClosingHook::new("sweep", stop),
            ClosingHook::new("writers", flush),
            ClosingHook::new("pools", async move { drop((pool, by_id, probing)) }),
        ]
    }
}
