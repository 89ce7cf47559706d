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
use crate::db::monitor::{DatabaseState, Monitor};
use crate::db::partition_watch;
use crate::db::pool::PoolSettings;
use crate::db::pools::{Pools, ReadLimits};
use crate::db::pulse::Pulse;
use crate::error::Error;
use crate::ledger::engine::{Ended, Writer, WriterSettings};
use crate::ledger::{expiry, reservation_sampling};
use crate::limits::{
    COALESCED_CONNECTIONS_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, VERIFY_AT_ONCE_MAX,
};
use crate::metrics::export;
use crate::network::NetworkService;
use crate::proto::allocation::v1::allocation_service_server::AllocationServiceServer;
use crate::proto::balance::v1::balance_service_server::BalanceServiceServer;
use crate::proto::bucket::v1::bucket_service_server::BucketServiceServer;
use crate::proto::cas::v1::cas_allocation_service_server::CasAllocationServiceServer;
use crate::proto::catalogue::v1::catalogue_service_server::CatalogueServiceServer;
use crate::proto::network::v1::network_service_server::NetworkServiceServer;
use crate::server::ClosingHook;
use crate::server::health::{HealthProbe, Readiness, probe};

/// How a process uses its database: sizes of pools, number of writers.
#[derive(Clone, Debug, Default)]
pub struct AppSettings {
    /// The pools for reads, and for writes outside of the ledger: all of them together.
    pub pool: PoolSettings,
    /// How long reads may take.
    pub reads: ReadLimits,
    /// The writers, which carry out everything that moves value.
    pub writer: WriterSettings,
}

impl AppSettings {
    /// Connections to the database that a process has at most at the same time: the lanes of the pool, reads by id, health
    /// (two), the question whether the database answers, the writers, and verifications.
    pub fn database_connections_max(&self) -> u32 {
        let [writers, verifications] = [self.writer.writers, VERIFY_AT_ONCE_MAX]
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let fixed = COALESCED_CONNECTIONS_MAX + 3;
        [self.pool.max_size, fixed, writers, verifications]
            .into_iter()
            .fold(0, u32::saturating_add)
    }
}

/// The resources that all calls of a process share.
pub struct App {
    /// Reads, and writes outside of the ledger.
    pools: Pools,
    writer: Writer,
    writers_ended: Vec<Ended>,
    sweep: JoinHandle<()>,
    stop_sweep: CancellationToken,
    /// Makes the connections that belong to no pool: those of verifications.
    connector: Connector,
    /// Looks at the state of the database.
    monitor: Monitor,
}

impl App {
    /// Starts the writers and the sweep. The database need not answer yet; until it does, health is NOT_SERVING.
    ///
    /// # Errors
    /// The operating system cannot start the writers' threads.
    pub fn start(connector: Connector, settings: &AppSettings) -> io::Result<Self> {
        let (writer, writers_ended) = Writer::start(&connector, &settings.writer)?;
        let pulse = Pulse::new(connector.clone());
        let pools = Pools::open(&connector, &settings.pool, &settings.reads, &pulse);
        let stop_sweep = CancellationToken::new();
        let sweep = expiry::sweep(pools.records.clone(), writer.clone(), stop_sweep.clone());
        partition_watch::watch(pools.records.clone(), stop_sweep.clone());
        if export::is_collected() {
            reservation_sampling::sample(pools.records.clone(), stop_sweep.clone());
        }
        Ok(Self {
            pools,
            monitor: Monitor::start(connector.clone()),
            connector,
            writer,
            writers_ended,
            sweep,
            stop_sweep,
        })
    }

    /// Every service, with the limits of its messages. A new service is added here and in the scope table.
    pub fn routes(&self) -> Routes {
        let (pools, writer) = (&self.pools, &self.writer);
        let allocation = AllocationService::new(pools.clone(), writer.clone());
        let balance = BalanceService::new(pools.clone(), writer.clone(), self.connector.clone());
        let bucket = BucketService::new(pools.clone(), writer.clone());
        let cas = CasAllocationService::new(pools.clone());
        let catalogue = CatalogueService::new(pools.clone());
        let network = NetworkService::new(pools.clone());
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

    /// A health probe: what the state of the database and the writers' connections allow.
    pub fn probe(&self) -> HealthProbe {
        let (monitor, writer) = (self.monitor.clone(), self.writer.clone());
        probe(move || {
            let readiness = readiness(monitor.state(), &writer);
            async move { readiness }
        })
    }

    /// The closing hooks, to be run in this order once no call is left: the sweep ends, the writers carry out what is
    /// queued, and the pools close their connections.
    pub fn closing(self) -> Vec<ClosingHook> {
        let Self {
            pools,
            writer,
            writers_ended,
            sweep,
            stop_sweep,
            monitor,
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
            ClosingHook::new("pools", async move { drop((pools, monitor)) }),
        ]
    }
}

/// What a server can do in this state of the database.
fn readiness(state: DatabaseState, writer: &Writer) -> Readiness {
    match state {
        DatabaseState::Unknown => Readiness::default(),
        DatabaseState::Silent => Readiness::from(false),
        DatabaseState::Answers {
            outdated: Some(versions),
            ..
        } => Readiness {
            refusal: Some(Error::SchemaOutdated(versions)),
            ..Readiness::from(false)
        },
        DatabaseState::Answers { is_read_only, .. } => Readiness {
            writes: !is_read_only && writer.can_write(),
            ..Readiness::from(true)
        },
    }
}
