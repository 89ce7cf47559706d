//! Between proto and model.

use crate::auth::caller::Caller;
use crate::balance::model::{Balances, ClientList, NetworkBalance};
use crate::error::Result;
use crate::ledger::command::{Action, Adjust, Command};
use crate::ledger::invariant::Breach;
use crate::ledger::verify::Event;
use crate::proto::balance::v1 as pb;
use crate::proto::common::v1 as common;
use crate::rpc::page_token::Binding;
use crate::rpc::read::Reader;
use crate::types::content::Content;
use crate::types::ids::{AccountId, EnterpriseId};

/// Reads a deposit or withdrawal.
pub(super) fn adjust(request: pb::AdjustBalanceRequest, caller: &Caller) -> Result<Command> {
    let mut read = Reader::new();
    let enterprise: EnterpriseId = read.id("enterprise_id", &request.enterprise_id);
    let unit = read.unit("currency", &request.currency);
    let quantity = read.signed_quantity("quantity", &request.quantity);
    let external_id = read.external_id("external_id", &request.external_id);
    let reason = read.note("reason", &request.reason);
    read.finish()?;
    // Tags are for ever.
    let content = Content::new()
        .field(1, unit.as_str())
        .field(2, quantity.to_string())
        .field(3, &reason)
        .hash();
    let adjust = Adjust {
        unit,
        quantity,
        external_id,
        reason,
        initiated_by: caller.subject.clone(),
        content,
    };
    Ok(Command::new(
        enterprise,
        request.validate_only,
        Action::Adjust(adjust),
    ))
}

/// Reads a client's list, and what its page tokens are bound to.
pub(super) fn client_list(
    rpc: &str,
    request: pb::ListClientBalancesRequest,
) -> Result<(ClientList, Binding)> {
    let mut read = Reader::new();
    let enterprise = read.id("enterprise_id", &request.enterprise_id);
    let connections = read.ids("connection_ids", &request.connection_ids);
    let partners = read.ids("partner_ids", &request.partner_ids);
    let units = read.units("currencies", &request.currencies);
    let (number, size, token) = (
        request.page_number,
        request.page_size,
        request.page_token.clone(),
    );
    let binding = Binding::new(
        rpc,
        &pb::ListClientBalancesRequest {
            page_number: 0,
            page_size: 0,
            page_token: String::new(),
            ..request
        },
    );
    let page = read.page(number, size, &token, binding);
    read.finish()?;
    Ok((
        ClientList {
            enterprise,
            connections,
            partners,
            units,
            page,
        },
        binding,
    ))
}

/// Balances as answers have them.
pub(super) fn balances(balances: Balances) -> impl Iterator<Item = (String, common::Balance)> {
    balances
        .into_iter()
        .map(|(unit, balance)| (unit.to_string(), balance.into()))
}

impl From<NetworkBalance> for pb::ClientNetworkBalance {
    fn from(network: NetworkBalance) -> Self {
        Self {
            connection_id: network.connection.to_string(),
            partner_id: network.partner.to_string(),
            partners_connection_id: network.partners_connection_id,
            name: network.name,
            partner_institution_identifier: network.institution_identifier,
            balances: balances(network.balances).collect(),
        }
    }
}

impl From<Event> for pb::VerifyLedgerResponse {
    fn from(event: Event) -> Self {
        use pb::verify_ledger_response::Event as Told;

        let told = match event {
            Event::Progress(progress) => Told::Progress(pb::VerifyProgress {
                accounts_done: progress.accounts_done,
                accounts_total: progress.accounts_total,
            }),
            Event::Breach(breach) => Told::Breach(breach.into()),
            Event::Summary(summary) => Told::Summary(pb::VerifySummary {
                accounts: summary.accounts,
                entries: summary.entries,
                breaches: summary.breaches,
            }),
        };
        Self { event: Some(told) }
    }
}

impl From<Breach> for pb::VerifyBreach {
    fn from(breach: Breach) -> Self {
        Self {
            invariant: breach.invariant.name().into(),
            owner_id: breach.owner.map_or_else(String::new, |id| id.to_string()),
            account: breach
                .account
                .map(AccountId::name)
                .unwrap_or_default()
                .into(),
            unit: breach.unit.to_string(),
            expected: breach.expected,
            actual: breach.actual,
        }
    }
}
