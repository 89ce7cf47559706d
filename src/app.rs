//! Composition of a server process: connection pools, ledger writers, the expiry sweep, and the services that use them.

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
use crate::ledger::engine::{Ended, Writer, WriterSettings};
use crate::ledger::expiry;
use crate::limits::{COALESCED_STATEMENTS_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use crate::network::NetworkService;
use crate::proto::allocation::v1::allocation_service_server::AllocationServiceServer;
use crate::proto::balance::v1::balance_service_server::BalanceServiceServer;
use crate::proto::bucket::v1::bucket_service_server::BucketServiceServer;
use crate::proto::cas::v1::cas_allocation_service_server::CasAllocationServiceServer;
use crate::proto::catalogue::v1::catalogue_service_server::CatalogueServiceServer;
use crate::proto::network::v1::network_service_server::NetworkServiceServer;
use crate::server::ClosingHook;
use crate::server::health::{HealthProbe, probe};

/// How a process uses its database: sizes of pools, number of writers.
#[derive(Clone, Debug, Default)]
pub struct AppSettings {
    /// The pool for reads, and for writes outside of the ledger.
    pub pool: PoolSettings,
    /// The writers, which carry out everything that moves value.
    pub writer: WriterSettings,
}

/// The resources that all calls of a process share.
pub struct App {
    /// Reads, and writes outside of the ledger.
    pool: Pool,
    /// Reads by id, which are coalesced: one statement reads for many calls, so that few connections are enough.
    coalesced_pool: Pool,
    writer: Writer,
    writers_ended: Vec<Ended>,
    sweep: JoinHandle<()>,
    stop_sweep: CancellationToken,
    /// Makes the connections that belong to no pool: those of verifications.
    connector: Connector,
    /// The health probe's one connection. With a connection of the shared pool, health would fail when
    /// the pool is busy.
    probe_pool: Pool,
}

impl App {
    /// Starts the writers and the sweep. The database need not answer yet; until it does, health is NOT_SERVING.
    ///
    /// # Errors
    /// The operating system cannot start the writers' threads.
    pub fn start(connector: Connector, settings: &AppSettings) -> io::Result<Self> {
        let for_probe = PoolSettings {
            max_size: 1,
            min_idle: 1,
            ..PoolSettings::default()
        };
        let (writer, writers_ended) = Writer::start(&connector, &settings.writer)?;
        let pool = pool::open(connector.clone(), &settings.pool);
        let for_coalesced = PoolSettings {
            max_size: COALESCED_STATEMENTS_MAX,
            min_idle: 1,
            ..settings.pool.clone()
        };
        let coalesced_pool = pool::open(
            connector.adjusted(|session| session.generic_plans = true),
            &for_coalesced,
        );
        let stop_sweep = CancellationToken::new();
        let sweep = expiry::sweep(pool.clone(), writer.clone(), stop_sweep.clone());
        Ok(Self {
            pool,
            coalesced_pool,
            probe_pool: pool::open(connector.clone(), &for_probe),
            connector,
            writer,
            writers_ended,
            sweep,
            stop_sweep,
        })
    }

    /// Every service, with the limits of its messages. A new service is added here and in the scope table.
    pub fn routes(&self) -> Routes {
        let allocation = AllocationService::new(
            self.pool.clone(),
            self.coalesced_pool.clone(),
            self.writer.clone(),
        );
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

    /// A health probe: whether the database answers and has every migration of this binary.
    pub fn probe(&self) -> HealthProbe {
        let pool = self.probe_pool.clone();
        probe(move || {
            let pool = pool.clone();
            async move { matches!(migrate::is_current(&pool).await, Ok(true)) }
        })
    }

    /// The closing hooks, to be run in this order once no call is left: the sweep ends, the writers carry out what is
    /// queued, and the pools close their connections.
    pub fn closing(self) -> Vec<ClosingHook> {
        let Self {
            pool,
            coalesced_pool,
            writer,
            writers_ended,
            sweep,
            stop_sweep,
            probe_pool,
            connector: _,
        } = self;
        let stop = async move {
            stop_sweep.cancel();
            if let Err(error) = sweep.await {
                tracing::error!(%error, "the sweep for expired reservations failed");
            }
        };
        let flush = async move {
            writer.close();
            for ended in join_all(writers_ended).await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a writer of the ledger failed");
                }
            }
        };
        vec![
            ClosingHook::new("sweep", stop),
            ClosingHook::new("writers", flush),
            ClosingHook::new(
                "pools",
                async move { drop((pool, coalesced_pool, probe_pool)) },
            ),
        ]
    }
}
