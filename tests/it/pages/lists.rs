//! The lists: how each is asked for a page, and what a page shows.

use earmark::proto::common::v1::Balance;
use earmark::proto::{
    allocation::v1 as allocation, balance::v1 as balance, bucket::v1 as bucket, cas::v1 as cas,
    catalogue::v1 as catalogue, network::v1 as network,
};

use super::PageResult;
use super::stock::{PARTY, StockedServer};
use crate::support::catalogue_fixture::COMPANY;

/// A list with page tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PagedList {
    ClientAllocations,
    PartnerAllocations,
    ClientBalances,
    PartnerBalances,
    Entries,
    Buckets,
    BalanceActions,
    AccumulatedBalances,
    Searches,
    CatalogueAllocations,
    Languages,
    Enterprises,
    Partners,
    Connections,
}

/// How pages are asked for besides tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    Nothing,
    From0,
    From1,
    Offset,
}

/// A page as it is asked for.
#[derive(Clone, Debug)]
pub(super) enum AskedPage {
    First,
    Number(i32),
    After(String),
}

impl AskedPage {
    fn number(&self) -> Option<i32> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn token(&self) -> String {
        match self {
            Self::After(token) => token.clone(),
            _ => String::new(),
        }
    }
}

/// A page as it was answered.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) ids: Vec<String>,
    pub(super) token: String,
}

impl PagedList {
    pub(super) const ALL: &[Self] = &[
        Self::ClientAllocations,
        Self::PartnerAllocations,
        Self::ClientBalances,
        Self::PartnerBalances,
        Self::Entries,
        Self::Buckets,
        Self::BalanceActions,
        Self::AccumulatedBalances,
        Self::Searches,
        Self::CatalogueAllocations,
        Self::Languages,
        Self::Enterprises,
        Self::Partners,
        Self::Connections,
    ];

    /// The name of the request's message.
    pub(super) fn request_name(self) -> String {
        let name = match self {
            Self::ClientAllocations => "ListClientAllocations",
            Self::PartnerAllocations => "ListPartnerAllocations",
            Self::ClientBalances => "ListClientBalances",
            Self::PartnerBalances => "ListPartnerBalances",
            Self::Entries => "ListEntries",
            Self::Buckets => "ListBuckets",
            Self::BalanceActions => "ListBalanceActions",
            Self::AccumulatedBalances => "GetAccumulatedBalance",
            Self::Searches => "SearchAllocations",
            Self::CatalogueAllocations => "ListAvailableAllocations",
            Self::Languages => "ListSupportedLanguages",
            Self::Enterprises => "ListEnterprises",
            Self::Partners => "ListPartners",
            Self::Connections => "ListConnections",
        };
        format!("{name}Request")
    }

    pub(super) fn numbering(self) -> Numbering {
        match self {
            Self::ClientAllocations
            | Self::PartnerAllocations
            | Self::ClientBalances
            | Self::PartnerBalances => Numbering::From0,
            Self::Searches => Numbering::From1,
            Self::Buckets => Numbering::Offset,
            _ => Numbering::Nothing,
        }
    }

    pub(super) fn first_number(self) -> i32 {
        i32::from(self.numbering() == Numbering::From1)
    }

    /// By how much the number of the next page is higher.
    pub(super) fn step(self, size: i32) -> i32 {
        match self.numbering() {
            Numbering::Offset => self.applied(size),
            _ => 1,
        }
    }

    /// The size that is applied to a page.
    pub(super) fn applied(self, size: i32) -> i32 {
        match (size, self) {
            (0, Self::Searches) => 250,
            (0, Self::AccumulatedBalances | Self::CatalogueAllocations | Self::Languages) => 1_000,
            (0, _) => 100,
            (size, _) => size,
        }
    }

    pub(super) fn size_field(self) -> &'static str {
        match self.numbering() {
            Numbering::Offset => "limit",
            _ => "page_size",
        }
    }
}

/// Makes the call, and takes of its answer what identifies each record.
macro_rules! listed {
    ($client:expr, $rpc:ident, $request:expr, $records:ident, $id:expr) => {{
        let answer = $client.clone().$rpc($request).await?.into_inner();
        Ok(Listed {
            ids: answer.$records.iter().map($id).collect(),
            token: answer.next_page_token,
        })
    }};
}

/// A connection, with what its balances are.
fn with_balances<'b>(id: &str, balances: impl IntoIterator<Item = &'b Balance>) -> String {
    let balances: Vec<_> = balances.into_iter().collect();
    let last = balances.last().map(|balance| &balance.available);
    format!("{id} {} {last:?}", balances.len())
}

impl StockedServer {
    /// Asks for a page of a list.
    pub(super) async fn page(&self, list: PagedList, size: i32, asked: &AskedPage) -> PageResult {
        match list {
            PagedList::ClientAllocations | PagedList::PartnerAllocations => {
                self.allocations(list, size, asked).await
            }
            PagedList::ClientBalances | PagedList::PartnerBalances | PagedList::Entries => {
                self.balances(list, size, asked).await
            }
            PagedList::Buckets | PagedList::BalanceActions | PagedList::AccumulatedBalances => {
                self.buckets(list, size, asked).await
            }
            PagedList::Searches => {
                let request = cas::SearchAllocationsRequest {
                    page: asked.number(),
                    page_size: size,
                    page_token: asked.token(),
                    ..Default::default()
                };
                listed!(
                    self.cas,
                    search_allocations,
                    request,
                    allocations,
                    |found| { format!("{} {}", found.id, found.status_messages.len()) }
                )
            }
            PagedList::CatalogueAllocations | PagedList::Languages => {
                self.catalogue(list, size, asked).await
            }
            PagedList::Enterprises | PagedList::Partners | PagedList::Connections => {
                self.network(list, size, asked).await
            }
        }
    }

    async fn allocations(&self, list: PagedList, size: i32, asked: &AskedPage) -> PageResult {
        let id = |found: &allocation::Allocation| {
            let notes = found.notes.as_ref().map_or(0, String::len);
            format!("{} {notes}", found.id)
        };
        if list == PagedList::ClientAllocations {
            let request = allocation::ListClientAllocationsRequest {
                enterprise_id: self.parties.enterprise.clone(),
                page_number: asked.number(),
                page_size: size,
                page_token: asked.token(),
                ..Default::default()
            };
            return listed!(
                self.member.allocation,
                list_client_allocations,
                request,
                allocations,
                id
            );
        }
        let request = allocation::ListPartnerAllocationsRequest {
            enterprise_id: self.parties.partner_enterprise.clone(),
            page_number: asked.number(),
            page_size: size,
            page_token: asked.token(),
            ..Default::default()
        };
        listed!(
            self.member.allocation,
            list_partner_allocations,
            request,
            allocations,
            id
        )
    }

    async fn balances(&self, list: PagedList, size: i32, asked: &AskedPage) -> PageResult {
        let client = &self.member.balance;
        let (number, page_token) = (asked.number(), asked.token());
        match list {
            PagedList::ClientBalances => {
                let request = balance::ListClientBalancesRequest {
                    enterprise_id: self.parties.enterprise.clone(),
                    page_number: number,
                    page_size: size,
                    page_token,
                    ..Default::default()
                };
                listed!(
                    client,
                    list_client_balances,
                    request,
                    network_balances,
                    |found| { with_balances(&found.connection_id, found.balances.values()) }
                )
            }
            PagedList::PartnerBalances => {
                let request = balance::ListPartnerBalancesRequest {
                    enterprise_id: self.parties.partner_enterprise.clone(),
                    page_number: number,
                    page_size: size,
                    page_token,
                    ..Default::default()
                };
                listed!(
                    client,
                    list_partner_balances,
                    request,
                    network_balances,
                    |found| { with_balances(&found.connection_id, found.balances.values()) }
                )
            }
            _ => {
                let request = balance::ListEntriesRequest {
                    enterprise_id: self.parties.enterprise.clone(),
                    page_size: size,
                    page_token,
                    ..Default::default()
                };
                listed!(client, list_entries, request, entries, |found| {
                    format!("{} {} {}", found.account, found.unit, found.version)
                })
            }
        }
    }

    async fn buckets(&self, list: PagedList, size: i32, asked: &AskedPage) -> PageResult {
        let page_token = asked.token();
        match list {
            PagedList::Buckets => {
                let request = bucket::ListBucketsRequest {
                    r#type: "BucketOracle".into(),
                    limit: size,
                    offset: asked.number(),
                    page_token,
                    ..Default::default()
                };
                listed!(self.bucket, list_buckets, request, buckets, |found| found
                    .id
                    .clone())
            }
            PagedList::BalanceActions => {
                let request = bucket::ListBalanceActionsRequest {
                    page_size: size,
                    page_token,
                    ..Default::default()
                };
                listed!(
                    self.bucket,
                    list_balance_actions,
                    request,
                    balance_actions,
                    |found| { found.id.clone() }
                )
            }
            _ => {
                let request = bucket::GetAccumulatedBalanceRequest {
                    party_account_id: PARTY.into(),
                    page_size: size,
                    page_token,
                    ..Default::default()
                };
                listed!(
                    self.bucket,
                    get_accumulated_balance,
                    request,
                    accumulated_balances,
                    |found| { format!("{} {}", found.units, found.bucket_count) }
                )
            }
        }
    }

    async fn catalogue(&self, list: PagedList, size: i32, asked: &AskedPage) -> PageResult {
        let page_token = asked.token();
        if list == PagedList::Languages {
            let request = catalogue::ListSupportedLanguagesRequest {
                page_size: size,
                page_token,
            };
            let client = &self.catalogue;
            return listed!(
                client,
                list_supported_languages,
                request,
                languages,
                String::clone
            );
        }
        let request = catalogue::ListAvailableAllocationsRequest {
            company_id: COMPANY,
            page_size: size,
            page_token,
            ..Default::default()
        };
        listed!(
            self.catalogue,
            list_available_allocations,
            request,
            allocations,
            |found| { found.allocation_id.clone() }
        )
    }

    async fn network(&self, list: PagedList, size: i32, asked: &AskedPage) -> PageResult {
        let (client, page_token) = (&self.admin.network, asked.token());
        match list {
            PagedList::Enterprises => {
                let request = network::ListEnterprisesRequest {
                    page_size: size,
                    page_token,
                };
                listed!(client, list_enterprises, request, enterprises, |found| {
                    found.id.clone()
                })
            }
            PagedList::Partners => {
                let request = network::ListPartnersRequest {
                    enterprise_id: self.parties.partner_enterprise.clone(),
                    page_size: size,
                    page_token,
                    ..Default::default()
                };
                listed!(client, list_partners, request, partners, |found| found
                    .id
                    .clone())
            }
            _ => {
                let request = network::ListConnectionsRequest {
                    enterprise_id: self.parties.enterprise.clone(),
                    page_size: size,
                    page_token,
                    ..Default::default()
                };
                listed!(client, list_connections, request, connections, |found| {
                    found.id.clone()
                })
            }
        }
    }
}
