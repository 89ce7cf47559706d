//! Which scopes serve which RPC: one row per RPC, held against the descriptors by a test.

/// A scope of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Reads of allocations, balances and the network.
    NetworkRead,
    /// Writes of allocations.
    NetworkWrite,
    /// Writes of the network and of custody, on every enterprise.
    NetworkAdmin,
    /// Reads of CAS allocations.
    AllocationsRead,
    /// Writes of CAS allocations.
    AllocationsWrite,
    /// Reads of prepaid buckets.
    BucketsRead,
    /// Writes of prepaid buckets.
    BucketsWrite,
    /// Reads of catalogues.
    CatalogueRead,
    /// Writes of catalogues.
    CatalogueWrite,
}

impl Scope {
    /// Its name in a token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkRead => "settlement_network_read",
            Self::NetworkWrite => "settlement_network_write",
            Self::NetworkAdmin => "network-admin",
            Self::AllocationsRead => "allocations-read",
            Self::AllocationsWrite => "allocations-write",
            Self::BucketsRead => "buckets-read",
            Self::BucketsWrite => "buckets-write",
            Self::CatalogueRead => "catalogue-read",
            Self::CatalogueWrite => "catalogue-write",
        }
    }

    /// The scope with this name, if this server knows it.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::NetworkRead,
            Self::NetworkWrite,
            Self::NetworkAdmin,
            Self::AllocationsRead,
            Self::AllocationsWrite,
            Self::BucketsRead,
            Self::BucketsWrite,
            Self::CatalogueRead,
            Self::CatalogueWrite,
        ]
        .into_iter()
        .find(|scope| scope.name() == name)
    }
}

/// What the server knows of an RPC before its handler runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Rpc {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Any one of these scopes serves it; the first is named when none is there.
    pub scopes: &'static [Scope],
    /// Whether it can change anything: then its errors say whether it did.
    pub write: bool,
    /// Whether it may outlast the server's limit for calls; the client's own deadline counts all the same.
    pub long: bool,
}

const READ: &[Scope] = &[Scope::NetworkRead];
const WRITE: &[Scope] = &[Scope::NetworkWrite];
const ADMIN: &[Scope] = &[Scope::NetworkAdmin];
const READ_OR_ADMIN: &[Scope] = &[Scope::NetworkRead, Scope::NetworkAdmin];
const READ_CAS: &[Scope] = &[Scope::AllocationsRead];
const WRITE_CAS: &[Scope] = &[Scope::AllocationsWrite];
const READ_BUCKETS: &[Scope] = &[Scope::BucketsRead];
const WRITE_BUCKETS: &[Scope] = &[Scope::BucketsWrite];
const READ_CATALOGUE: &[Scope] = &[Scope::CatalogueRead];
const WRITE_CATALOGUE: &[Scope] = &[Scope::CatalogueWrite];

const fn read(path: &'static str, scopes: &'static [Scope]) -> Rpc {
    Rpc {
        path,
        scopes,
        write: false,
        long: false,
    }
}

const fn long_read(path: &'static str, scopes: &'static [Scope]) -> Rpc {
    Rpc {
        long: true,
        ..read(path, scopes)
    }
}

const fn write(path: &'static str, scopes: &'static [Scope]) -> Rpc {
    Rpc {
        path,
        scopes,
        write: true,
        long: false,
    }
}

/// Every RPC that needs a token.
pub const RPCS: &[Rpc] = &[
    write(
        "/earmark.allocation.v1.AllocationService/CreateAllocation",
        WRITE,
    ),
    write(
        "/earmark.allocation.v1.AllocationService/CreateDeallocation",
        WRITE,
    ),
    write(
        "/earmark.allocation.v1.AllocationService/SubmitAllocations",
        WRITE,
    ),
    write(
        "/earmark.allocation.v1.AllocationService/ClearAllocation",
        WRITE,
    ),
    write(
        "/earmark.allocation.v1.AllocationService/ReleaseAllocation",
        WRITE,
    ),
    write(
        "/earmark.allocation.v1.AllocationService/CancelAllocation",
        WRITE,
    ),
    read(
        "/earmark.allocation.v1.AllocationService/ListPartnerAllocations",
        READ,
    ),
    read(
        "/earmark.allocation.v1.AllocationService/GetAllocation",
        READ,
    ),
    read(
        "/earmark.allocation.v1.AllocationService/ListClientAllocations",
        READ,
    ),
    write("/earmark.balance.v1.BalanceService/AdjustBalance", ADMIN),
    read(
        "/earmark.balance.v1.BalanceService/ListClientBalances",
        READ,
    ),
    read(
        "/earmark.balance.v1.BalanceService/ListPartnerBalances",
        READ,
    ),
    read("/earmark.balance.v1.BalanceService/GetBalance", READ),
    read("/earmark.balance.v1.BalanceService/ListEntries", READ),
    long_read("/earmark.balance.v1.BalanceService/VerifyLedger", ADMIN),
    read("/earmark.bucket.v1.BucketService/ListBuckets", READ_BUCKETS),
    read("/earmark.bucket.v1.BucketService/GetBucket", READ_BUCKETS),
    write(
        "/earmark.bucket.v1.BucketService/CreateBucket",
        WRITE_BUCKETS,
    ),
    write(
        "/earmark.bucket.v1.BucketService/UpdateBucket",
        WRITE_BUCKETS,
    ),
    write(
        "/earmark.bucket.v1.BucketService/TopupBalance",
        WRITE_BUCKETS,
    ),
    write(
        "/earmark.bucket.v1.BucketService/AdjustBalance",
        WRITE_BUCKETS,
    ),
    write(
        "/earmark.bucket.v1.BucketService/TransferBalance",
        WRITE_BUCKETS,
    ),
    write(
        "/earmark.bucket.v1.BucketService/ReserveBalance",
        WRITE_BUCKETS,
    ),
    write(
        "/earmark.bucket.v1.BucketService/UnreserveBalance",
        WRITE_BUCKETS,
    ),
    write(
        "/earmark.bucket.v1.BucketService/DeductBalance",
        WRITE_BUCKETS,
    ),
    read(
        "/earmark.bucket.v1.BucketService/GetAccumulatedBalance",
        READ_BUCKETS,
    ),
    read(
        "/earmark.bucket.v1.BucketService/ListBalanceActions",
        READ_BUCKETS,
    ),
    read(
        "/earmark.bucket.v1.BucketService/GetBalanceAction",
        READ_BUCKETS,
    ),
    read(
        "/earmark.cas.v1.CasAllocationService/SearchAllocations",
        READ_CAS,
    ),
    read(
        "/earmark.cas.v1.CasAllocationService/GetAllocation",
        READ_CAS,
    ),
    write(
        "/earmark.cas.v1.CasAllocationService/CreateAllocation",
        WRITE_CAS,
    ),
    write(
        "/earmark.cas.v1.CasAllocationService/UpdateAllocation",
        WRITE_CAS,
    ),
    write(
        "/earmark.cas.v1.CasAllocationService/PatchAllocation",
        WRITE_CAS,
    ),
    write(
        "/earmark.cas.v1.CasAllocationService/DeleteAllocation",
        WRITE_CAS,
    ),
    write(
        "/earmark.cas.v1.CasAllocationService/DeleteAllocationBySourceId",
        WRITE_CAS,
    ),
    read(
        "/earmark.catalogue.v1.CatalogueService/ListAvailableAllocations",
        READ_CATALOGUE,
    ),
    read(
        "/earmark.catalogue.v1.CatalogueService/GetAllocation",
        READ_CATALOGUE,
    ),
    write(
        "/earmark.catalogue.v1.CatalogueService/PutCompany",
        WRITE_CATALOGUE,
    ),
    write(
        "/earmark.catalogue.v1.CatalogueService/PutAllocation",
        WRITE_CATALOGUE,
    ),
    write(
        "/earmark.catalogue.v1.CatalogueService/DeleteAllocation",
        WRITE_CATALOGUE,
    ),
    read(
        "/earmark.catalogue.v1.CatalogueService/ListSupportedLanguages",
        READ_CATALOGUE,
    ),
    read(
        "/earmark.catalogue.v1.CatalogueService/ListSupportedCurrencies",
        READ_CATALOGUE,
    ),
    write("/earmark.network.v1.NetworkService/CreateEnterprise", ADMIN),
    read(
        "/earmark.network.v1.NetworkService/GetEnterprise",
        READ_OR_ADMIN,
    ),
    write("/earmark.network.v1.NetworkService/UpdateEnterprise", ADMIN),
    read(
        "/earmark.network.v1.NetworkService/ListEnterprises",
        READ_OR_ADMIN,
    ),
    write("/earmark.network.v1.NetworkService/CreateClient", ADMIN),
    read(
        "/earmark.network.v1.NetworkService/GetClient",
        READ_OR_ADMIN,
    ),
    write("/earmark.network.v1.NetworkService/CreatePartner", ADMIN),
    read(
        "/earmark.network.v1.NetworkService/GetPartner",
        READ_OR_ADMIN,
    ),
    read(
        "/earmark.network.v1.NetworkService/ListPartners",
        READ_OR_ADMIN,
    ),
    write("/earmark.network.v1.NetworkService/CreateConnection", ADMIN),
    read(
        "/earmark.network.v1.NetworkService/GetConnection",
        READ_OR_ADMIN,
    ),
    write("/earmark.network.v1.NetworkService/UpdateConnection", ADMIN),
    read(
        "/earmark.network.v1.NetworkService/ListConnections",
        READ_OR_ADMIN,
    ),
];

/// The row of an RPC; `None` for a method that does not exist, or that needs no token.
pub fn rpc(path: &str) -> Option<&'static Rpc> {
    RPCS.iter().find(|rpc| rpc.path == path)
}
