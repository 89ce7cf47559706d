//! What `earmark dev` prints once it serves: calls to copy, a short one first, and a token as the last line.

use std::env;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::{DATA_DIR, DevArgs};
use crate::demo::DemoIds;

/// Where `make dev` puts grpcurl, relative to the repository's root.
const GRPCURL: &str = "target/tools/bin/grpcurl";

/// The text to print. `address` must be one that clients on this machine can connect to.
pub(super) fn greeting(
    address: SocketAddr,
    args: &DevArgs,
    demo: &DemoIds,
    token: &str,
    database: &str,
) -> String {
    let DemoIds {
        enterprise,
        confirmed_connection: connection,
        tenant,
        firm,
        deal,
        company,
        ..
    } = demo;
    let grpcurl = match Path::new(GRPCURL).is_file() {
        true => GRPCURL,
        false => "grpcurl",
    };
    let earmark = env::args().next().unwrap_or_else(|| "earmark".into());
    let data_dir = match args.data.data_dir.as_path() {
        default if default == Path::new(DATA_DIR) => String::new(),
        other => format!(" --data-dir '{}'", other.display()),
    };
    format!(
        "
Earmark serves on {address}, with demo data. To try it, copy the last line that is printed here into another terminal,
and then any of these calls:

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  {address} earmark.bucket.v1.BucketService/ListBuckets

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"enterprise_id\": \"{enterprise}\"}}' \\
  {address} earmark.balance.v1.BalanceService/ListClientBalances

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"enterprise_id\": \"{enterprise}\", \"connection_id\": \"{connection}\",
       \"amount\": {{\"currency\": \"BTC\", \"quantity\": \"2500\"}}, \"client_external_id\": \"my-first\"}}' \\
  {address} earmark.allocation.v1.AllocationService/CreateAllocation

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"enterprise_id\": \"{enterprise}\"}}' \\
  {address} earmark.allocation.v1.AllocationService/ListClientAllocations

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"criteria\": [{{\"field\": \"dealId\", \"operator\": \"=\", \"value\": \"{deal}\"}}]}}' \\
  {address} earmark.cas.v1.CasAllocationService/SearchAllocations

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"company_id\": {company}, \"langcode\": \"fr-CA\"}}' \\
  {address} earmark.catalogue.v1.CatalogueService/ListAvailableAllocations

docs/tour.md has a longer tour. The database:
  psql '{database}'
The token is valid for a day. It has every scope, both demo enterprises, the tenant {tenant}, the firm {firm}
and the company {company}. For a token that may only read:
  {earmark} token --scope settlement_network_read --enterprise {enterprise}{data_dir}
Ctrl-C stops the server and its PostgreSQL.

export TOKEN={token}
"
    )
}
