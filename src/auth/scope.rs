//! The scopes that each RPC accepts. The table has one row per RPC, and a test compares it with the protos.

/// A scope that a token may have; see [`Scope::name`] for how tokens write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read allocations, balances and the network of the bearer's enterprises.
    NetworkRead,
    /// Create and close allocations of the bearer's enterprises.
    NetworkWrite,
    /// Read and write the network and adjust custody, for every enterprise.
    NetworkAdmin,
    /// Adjust the custody of the bearer's enterprises: the custodian's scope.
    CustodyWrite,
    /// Read the CAS allocations of the bearer's firm.
    AllocationsRead,
    /// Write the CAS allocations of the bearer's firm.
    AllocationsWrite,
    /// Read the prepaid buckets of the bearer's tenant.
    BucketsRead,
    /// Write the prepaid buckets of the bearer's tenant, and use their balances.
    BucketsWrite,
    /// Read the catalogues of the bearer's companies.
    CatalogueRead,
    /// Write the catalogues of the bearer's companies.
    CatalogueWrite,
}

impl Scope {
    /// Every scope that this server uses.
    pub const ALL: [Self; 10] = [
        Self::NetworkRead,
        Self::NetworkWrite,
        Self::NetworkAdmin,
        Self::CustodyWrite,
        Self::AllocationsRead,
        Self::AllocationsWrite,
        Self::BucketsRead,
        Self::BucketsWrite,
        Self::CatalogueRead,
        Self::CatalogueWrite,
    ];

    /// The scope as a token's claim `scope` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkRead => "settlement_network_read",
            Self::NetworkWrite => "settlement_network_write",
            Self::NetworkAdmin => "network-admin",
            Self::CustodyWrite => "custody-write",
            Self::AllocationsRead => "allocations-read",
            Self::AllocationsWrite => "allocations-write",
            Self::BucketsRead => "buckets-read",
            Self::BucketsWrite => "buckets-write",
            Self::CatalogueRead => "catalogue-read",
            Self::CatalogueWrite => "catalogue-write",
        }
    }

    /// The scope with this name; `None` for a name that this server does not use.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// What the server decides about an RPC before its handler runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Rpc {
    /// The request's path, `/package.Service/Method`.
    pub path: &'static str,
    /// A token needs any one of these scopes. `SCOPE_MISSING` names the first.
    pub scopes: &'static [Scope],
    /// Whether the RPC can change anything; the errors of such an RPC say whether it did.
    pub write: bool,
    /// Whether the server's limit for the duration of a call does not apply; the client's own deadline always does.
    pub long: bool,
}

const READ: &[Scope] = &[Scope::NetworkRead];
const WRITE: &[Scope] = &[Scope::NetworkWrite];
const ADMIN: &[Scope] = &[Scope::NetworkAdmin];
const CUSTODY_OR_ADMIN: &[Scope] = &[Scope::CustodyWrite, Scope::NetworkAdmin];
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

/// Every RPC but those of health and reflection, which need no token.
pub static RPCS: &[Rpc] = &[
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
    write(
        "/earmark.balance.v1.BalanceService/AdjustBalance",
        CUSTODY_OR_ADMIN,
    ),
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
        "/earmark.bucket.v1.BucketService/CloseBucket",
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
    write("/earmark.network.v1.NetworkService/UpdateClient", ADMIN),
    read(
        "/earmark.network.v1.NetworkService/GetClient",
        READ_OR_ADMIN,
    ),
    write("/earmark.network.v1.NetworkService/CreatePartner", ADMIN),
    write("/earmark.network.v1.NetworkService/UpdatePartner", ADMIN),
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

/// The row with this path; `None` if the method does not exist or needs no token.
pub fn rpc(path: &str) -> Option<&'static Rpc> {
    RPCS.iter().find(|rpc| rpc.path == path)
}
