//! Conversions between the model's types and the protos.

use std::collections::BTreeMap;
use std::time::Duration;

use earmark::proto::allocation::v1 as allocation;
use earmark::proto::balance::v1 as balance;
use earmark::proto::common::v1 as common;
use prost_types::Timestamp;
use tonic::{Code, Response, Status as RpcStatus};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::call::{
    Account, Answer, Balance, By, Cause, Close, Command, Create, Direction, Item, Leg, Micros,
    Movement, Owner, Record, Refusal, Reservation, Status, Subject, Unit, Verdict,
};
use super::plan;
use super::round::Parties;
use crate::support::allocation_fixture::{as_deallocation, create_request};
use crate::support::earmark::Clients;
use crate::support::service::is_replayed;

type Answered<T> = Result<Response<T>, RpcStatus>;

/// Clients of one server for every kind of caller.
#[derive(Clone)]
pub(super) struct ModelClient {
    /// A member of all enterprises.
    pub(super) member: Clients,
    pub(super) admin: Clients,
}

impl ModelClient {
    /// Sends a command about an owner, and reads the answer.
    pub(super) async fn send(
        &self,
        parties: &Parties,
        owner: usize,
        command: &Command,
        validate_only: bool,
    ) -> Answer {
        let about = About {
            parties,
            owner: &parties.owners[owner],
            number: owner,
            validate_only,
        };
        let sent = match command {
            Command::Create(create) => self.create(&about, create).await,
            Command::Submit(items) => self.submit(&about, items).await,
            Command::Close(close) => self.close(&about, close).await,
            Command::Adjust(_) => self.adjust(&about, command).await,
            Command::Get { id, by } => self.get(&about, *id, *by).await,
            Command::GetBalance { account, unit } => self.get_balance(&about, *account, unit).await,
            Command::ListBalances => self.list_balances(about.owner).await,
        };
        sent.unwrap_or_else(|status| refusal(&status))
    }

    async fn create(&self, about: &About<'_>, create: &Create) -> Result<Answer, RpcStatus> {
        let item = about.item(create);
        let mut client = self.member.allocation.clone();
        let enterprise = about.owner.enterprise.clone();
        let request = create_request(enterprise, item, about.validate_only);
        if create.direction == Direction::Allocation {
            let answer = client.create_allocation(request).await?;
            let replayed = is_replayed(&answer);
            let answer = answer.into_inner();
            return Ok(Answer::Record {
                record: about.record(answer.allocation),
                custody: Some(balance_of(answer.custody_balance)),
                connection: balance_of(answer.connection_balance),
                replayed,
            });
        }
        let answer = client.create_deallocation(as_deallocation(request)).await?;
        let replayed = is_replayed(&answer);
        let answer = answer.into_inner();
        Ok(Answer::Record {
            record: about.record(answer.allocation),
            custody: Some(balance_of(answer.custody_balance)),
            connection: balance_of(answer.connection_balance),
            replayed,
        })
    }

    async fn submit(&self, about: &About<'_>, items: &[Create]) -> Result<Answer, RpcStatus> {
        let request = allocation::SubmitAllocationsRequest {
            enterprise_id: about.owner.enterprise.clone(),
            items: items.iter().map(|create| about.item(create)).collect(),
            validate_only: about.validate_only,
        };
        let mut client = self.member.allocation.clone();
        let results = client
            .submit_allocations(request)
            .await?
            .into_inner()
            .results;
        assert_eq!(results.len(), items.len(), "a result for each item");
        let items = results.into_iter().map(|result| about.result(result));
        Ok(Answer::Items(items.collect()))
    }

    async fn close(&self, about: &About<'_>, close: &Close) -> Result<Answer, RpcStatus> {
        let mut client = self.member.allocation.clone();
        let enterprise_id = about.enterprise(close.by);
        let connection_id = about.owner.connections[close.connection].id.clone();
        let allocation_id = close.id.to_string();
        let validate_only = about.validate_only;
        match close.verdict.clone() {
            Verdict::Clear { partner_key } => {
                let request = allocation::ClearAllocationRequest {
                    enterprise_id,
                    connection_id,
                    allocation_id,
                    partner_external_id: partner_key,
                    validate_only,
                };
                let answer = client.clear_allocation(request).await;
                about.partner_told(answer, |answer| {
                    (answer.allocation, answer.connection_balance)
                })
            }
            Verdict::Release {
                partner_key,
                reason,
            } => {
                let request = allocation::ReleaseAllocationRequest {
                    enterprise_id,
                    connection_id,
                    allocation_id,
                    partner_external_id: partner_key,
                    reason,
                    validate_only,
                };
                let answer = client.release_allocation(request).await;
                about.partner_told(answer, |answer| {
                    (answer.allocation, answer.connection_balance)
                })
            }
            Verdict::Cancel { reason } => {
                let request = allocation::CancelAllocationRequest {
                    enterprise_id,
                    allocation_id,
                    reason,
                    validate_only,
                };
                let answer = client.cancel_allocation(request).await?;
                let replayed = is_replayed(&answer);
                let answer = answer.into_inner();
                Ok(Answer::Record {
                    record: about.record(answer.allocation),
                    custody: Some(balance_of(answer.custody_balance)),
                    connection: balance_of(answer.connection_balance),
                    replayed,
                })
            }
        }
    }

    async fn adjust(&self, about: &About<'_>, command: &Command) -> Result<Answer, RpcStatus> {
        let Command::Adjust(adjust) = command else {
            unreachable!("an adjustment");
        };
        let request = balance::AdjustBalanceRequest {
            enterprise_id: about.owner.enterprise.clone(),
            currency: adjust.unit.into(),
            quantity: adjust.quantity.to_string(),
            external_id: adjust.key.clone(),
            reason: adjust.reason.clone(),
            validate_only: about.validate_only,
        };
        let answer = self.admin.balance.clone().adjust_balance(request).await?;
        let replayed = is_replayed(&answer);
        Ok(Answer::Adjusted {
            custody: balance_of(answer.into_inner().custody_balance),
            replayed,
        })
    }

    async fn get(&self, about: &About<'_>, id: Uuid, by: By) -> Result<Answer, RpcStatus> {
        let request = allocation::GetAllocationRequest {
            enterprise_id: about.enterprise(by),
            allocation_id: id.to_string(),
        };
        let mut client = self.member.allocation.clone();
        let record = client
            .get_allocation(request)
            .await?
            .into_inner()
            .allocation;
        Ok(Answer::Shown(about.record(record)))
    }

    async fn get_balance(
        &self,
        about: &About<'_>,
        account: Account,
        unit: Unit,
    ) -> Result<Answer, RpcStatus> {
        let request = balance::GetBalanceRequest {
            enterprise_id: about.owner.enterprise.clone(),
            connection_id: match account {
                Account::Custody => None,
                Account::Connection(number) => Some(about.owner.connections[number].id.clone()),
            },
            currency: unit.into(),
            view: balance::BalanceView::WithReservations.into(),
            page_size: 1_000,
            ..Default::default()
        };
        let mut client = self.member.balance.clone();
        let answer = client.get_balance(request).await?.into_inner();
        let reservations = answer.reservations.into_iter();
        Ok(Answer::Account {
            balance: balance_of(answer.balance),
            reservations: reservations.map(reservation).collect(),
            count: answer.reservation_count,
            total: number(&answer.reservation_total),
            as_of: micros(answer.as_of),
        })
    }

    /// All of an owner's accounts; its connections fit on a page.
    async fn list_balances(&self, owner: &Owner) -> Result<Answer, RpcStatus> {
        let request = balance::ListClientBalancesRequest {
            enterprise_id: owner.enterprise.clone(),
            ..Default::default()
        };
        let mut client = self.member.balance.clone();
        let answer = client.list_client_balances(request).await?.into_inner();
        assert_eq!(answer.next_page_token, "");
        let mut accounts = BTreeMap::new();
        let mut add = |account, balances: BTreeMap<String, common::Balance>| {
            for (name, balance) in balances {
                accounts.insert((account, unit(&name)), balance_of(Some(balance)));
            }
        };
        add(Account::Custody, answer.balances);
        for network in answer.network_balances {
            add(account(owner, &network.connection_id), network.balances);
        }
        Ok(Answer::Accounts(accounts))
    }

    /// An owner's accounts as they stand.
    pub(super) async fn balances(&self, owner: &Owner) -> BTreeMap<(Account, Unit), Balance> {
        match self.list_balances(owner).await {
            Ok(Answer::Accounts(accounts)) => accounts,
            other => panic!("the balances are not shown: {other:?}"),
        }
    }

    /// An owner's whole journal.
    pub(super) async fn journal(&self, owner: &Owner) -> Vec<Movement> {
        let mut journal: Vec<Movement> = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = balance::ListEntriesRequest {
                enterprise_id: owner.enterprise.clone(),
                page_size: 500,
                page_token,
                ..Default::default()
            };
            let answer = self.member.balance.clone().list_entries(request).await;
            let answer = answer.expect("the journal").into_inner();
            for entry in &answer.entries {
                add_entry(&mut journal, owner, entry);
            }
            if answer.next_page_token.is_empty() {
                return journal;
            }
            page_token = answer.next_page_token;
        }
    }

    /// An owner's records, as it sees them or as a partner does.
    pub(super) async fn records(&self, parties: &Parties, owner: usize) -> Vec<Record> {
        let about = About {
            parties,
            owner: &parties.owners[owner],
            number: owner,
            validate_only: false,
        };
        let mut records = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = allocation::ListClientAllocationsRequest {
                enterprise_id: about.owner.enterprise.clone(),
                page_size: 500,
                page_token,
                ..Default::default()
            };
            let mut client = self.member.allocation.clone();
            let answer = client.list_client_allocations(request).await;
            let answer = answer.expect("the records").into_inner();
            let page = answer.allocations.into_iter();
            records.extend(page.map(|record| about.record(Some(record))));
            if answer.next_page_token.is_empty() {
                return records;
            }
            page_token = answer.next_page_token;
        }
    }

    /// What an owner's partners see of its connections.
    pub(super) async fn partners_balances(
        &self,
        parties: &Parties,
        owner: &Owner,
    ) -> BTreeMap<(Account, Unit), Balance> {
        let mut accounts = BTreeMap::new();
        // Nothing is ever on the connection to one without a licence, who may not look at it either.
        let partners = parties.partners.iter().enumerate();
        for (_, partner) in partners.filter(|(number, _)| !plan::is_lapsed(*number)) {
            let request = balance::ListPartnerBalancesRequest {
                enterprise_id: partner.clone(),
                client_ids: vec![owner.client.clone()],
                ..Default::default()
            };
            let mut client = self.member.balance.clone();
            let answer = client
                .list_partner_balances(request)
                .await
                .expect("a partner's balances")
                .into_inner();
            for network in answer.network_balances {
                let account = account(owner, &network.connection_id);
                for (name, balance) in network.balances {
                    accounts.insert((account, unit(&name)), balance_of(Some(balance)));
                }
            }
        }
        accounts
    }

    /// Lets the server verify the whole ledger: how many entries it has, and what is wrong with it.
    pub(super) async fn verify(&self) -> (i64, Vec<String>) {
        use balance::verify_ledger_response::Event;
        let request = balance::VerifyLedgerRequest {};
        let events = self.admin.balance.clone().verify_ledger(request).await;
        let mut events = events.expect("verification").into_inner();
        let mut breaches = Vec::new();
        loop {
            let event = events.message().await.expect("an event");
            match event.expect("a summary at the end").event {
                Some(Event::Summary(summary)) => return (summary.entries, breaches),
                Some(Event::Breach(breach)) => breaches.push(format!("{breach:?}")),
                _ => {}
            }
        }
    }
}

/// What a call is about.
struct About<'a> {
    parties: &'a Parties,
    owner: &'a Owner,
    number: usize,
    validate_only: bool,
}

impl About<'_> {
    fn enterprise(&self, by: By) -> String {
        match by {
            By::Client => self.owner.enterprise.clone(),
            By::Partner(number) => self.parties.partners[number].clone(),
            By::Stranger => {
                let owners = &self.parties.owners;
                owners[(self.number + 1) % owners.len()].enterprise.clone()
            }
        }
    }

    fn item(&self, create: &Create) -> allocation::SubmitItem {
        let kind = match create.direction {
            Direction::Allocation => allocation::AllocationType::Allocation,
            Direction::Deallocation => allocation::AllocationType::Deallocation,
        };
        let required = allocation::SubmitItem {
            r#type: kind.into(),
            connection_id: self.owner.connections[create.connection].id.clone(),
            amount: Some(common::Amount {
                currency: create.unit.into(),
                quantity: create.quantity.to_string(),
            }),
            client_external_id: create.key.clone(),
            ..Default::default()
        };
        allocation::SubmitItem {
            notes: create.notes.clone(),
            expire_time: create.expire_time.map(timestamp),
            ..required
        }
    }

    fn record(&self, record: Option<allocation::Allocation>) -> Record {
        let record = record.expect("a record");
        assert!(!record.retriable, "a stored record is never retriable");
        let amount = record.amount.clone().expect("an amount");
        Record {
            id: id(&record.id),
            direction: match record.r#type() {
                allocation::AllocationType::Allocation => Direction::Allocation,
                allocation::AllocationType::Deallocation => Direction::Deallocation,
                other => panic!("{other:?}"),
            },
            status: match record.status() {
                allocation::AllocationStatus::Reserved => Status::Reserved,
                allocation::AllocationStatus::Cleared => Status::Cleared,
                allocation::AllocationStatus::Released => Status::Released,
                other => panic!("{other:?}"),
            },
            unit: unit(&amount.currency),
            quantity: number(&amount.quantity),
            connection: connection(self.owner, &record.connection_id),
            client: record.client_id,
            partner: record.partner_id,
            key: record.client_external_id,
            partner_key: record.partner_external_id,
            initiated_by: record.initiated_by,
            notes: record.notes,
            reason: record.reason,
            expire_time: record.expire_time.map(|time| micros(Some(time))),
            created_at: micros(record.created_at),
            updated_at: micros(record.updated_at),
        }
    }

    fn result(&self, result: allocation::SubmitResult) -> Item {
        use allocation::submit_result::Outcome;
        match result.outcome.expect("an outcome") {
            Outcome::Allocation(record) => Item::Record {
                record: self.record(Some(record)),
                replayed: result.replayed,
            },
            Outcome::Error(error) => {
                let reason = error.reason().as_str_name();
                let reason = reason.strip_prefix("ERROR_REASON_").unwrap_or(reason);
                Item::Refused(Refusal {
                    code: Code::from_i32(error.code),
                    reason: reason.into(),
                    facts: error.metadata.into_iter().collect(),
                })
            }
        }
    }

    fn partner_told<T>(
        &self,
        answer: Answered<T>,
        parts: impl Fn(T) -> (Option<allocation::Allocation>, Option<common::Balance>),
    ) -> Result<Answer, RpcStatus> {
        let answer = answer?;
        let replayed = is_replayed(&answer);
        let (record, connection) = parts(answer.into_inner());
        Ok(Answer::Record {
            record: self.record(record),
            custody: None,
            connection: balance_of(connection),
            replayed,
        })
    }
}

/// An error as the model has it: a refusal, a server that had no time, or nobody knows.
fn refusal(status: &RpcStatus) -> Answer {
    let details = status.get_error_details();
    let Some(info) = details.error_info() else {
        return Answer::Lost(format!("{:?}: {}", status.code(), status.message()));
    };
    assert_eq!(info.domain, "earmark");
    let mut facts: BTreeMap<_, _> = info.metadata.clone().into_iter().collect();
    // No answer shows the id of an adjustment, so nobody knows which it must be.
    if facts
        .get("field")
        .is_some_and(|field| field == "external_id")
    {
        let adjustment = facts.remove("id").expect("the record that has the key");
        assert!(Uuid::try_parse(&adjustment).is_ok(), "{adjustment}");
    }
    if let Some(since) = facts.get_mut("since") {
        let time = since.parse().expect("a time");
        *since = micros(Some(time)).to_string();
    }
    if facts.get("outcome").is_some_and(|told| told == "unknown") {
        return Answer::Lost(info.reason.clone());
    }
    let is_busy = [
        "CONTENTION",
        "OVERLOADED",
        "DATABASE_UNAVAILABLE",
        "SHUTTING_DOWN",
        "DEADLINE",
    ];
    if is_busy.contains(&&*info.reason) {
        return Answer::Busy(info.reason.clone());
    }
    Answer::Refused(Refusal {
        code: status.code(),
        reason: info.reason.clone(),
        facts,
    })
}

/// Adds an entry to the movement that has its time, which is the last one if there is one.
fn add_entry(journal: &mut Vec<Movement>, owner: &Owner, entry: &balance::Entry) {
    let (time, cause) = (micros(entry.time), cause(entry.cause()));
    let subject = match cause {
        Cause::Adjust => Subject::Adjustment(entry.cause_id.clone()),
        _ => Subject::Record(id(&entry.cause_id)),
    };
    let is_same = |last: &Movement| last.time == time;
    if !journal.last().is_some_and(is_same) {
        journal.push(Movement {
            time,
            cause,
            subject: subject.clone(),
            legs: BTreeMap::new(),
        });
    }
    let movement = journal.last_mut().expect("one at least");
    assert_eq!(
        (movement.cause, &movement.subject),
        (cause, &subject),
        "two movements bear one time"
    );
    let account = match entry.account.as_str() {
        "custody" => Account::Custody,
        id => account(owner, id),
    };
    let leg = Leg {
        available_delta: number(&entry.available_delta),
        held_delta: number(&entry.held_delta),
        after: Balance {
            available: number(&entry.available),
            held: number(&entry.held),
            version: entry.version,
        },
    };
    let before = movement.legs.insert((account, unit(&entry.unit)), leg);
    assert!(
        before.is_none(),
        "a movement has two entries of one account"
    );
}

fn cause(cause: balance::EntryCause) -> Cause {
    match cause {
        balance::EntryCause::Adjust => Cause::Adjust,
        balance::EntryCause::Reserve => Cause::Reserve,
        balance::EntryCause::Clear => Cause::Clear,
        balance::EntryCause::Release => Cause::Release,
        balance::EntryCause::Cancel => Cause::Cancel,
        balance::EntryCause::Expire => Cause::Expire,
        balance::EntryCause::Instant => Cause::Instant,
        other => panic!("no cause of an enterprise's entry: {other:?}"),
    }
}

fn account(owner: &Owner, connection_id: &str) -> Account {
    Account::Connection(connection(owner, connection_id))
}

fn connection(owner: &Owner, id: &str) -> usize {
    let mut connections = owner.connections.iter();
    let found = connections.position(|connection| connection.id == id);
    found.unwrap_or_else(|| panic!("a connection of nobody: {id}"))
}

fn reservation(open: balance::Reservation) -> Reservation {
    Reservation {
        id: id(&open.allocation_id),
        quantity: number(&open.amount.expect("an amount").quantity),
        created_at: micros(open.created_at),
        expire_time: open.expire_time.map(|time| micros(Some(time))),
    }
}

fn balance_of(balance: Option<common::Balance>) -> Balance {
    let balance = balance.expect("a balance");
    Balance {
        available: number(&balance.available),
        held: number(&balance.held),
        version: balance.version,
    }
}

fn unit(name: &str) -> Unit {
    plan::unit(name).unwrap_or_else(|| panic!("a currency of nobody: {name}"))
}

/// Amounts are written in one way only.
fn number(text: &str) -> i128 {
    let number: i128 = text.parse().expect("digits");
    assert_eq!(number.to_string(), text);
    number
}

/// What was only validated has no id.
fn id(text: &str) -> Uuid {
    if text.is_empty() {
        return Uuid::nil();
    }
    text.parse().expect("a UUID")
}

fn micros(time: Option<Timestamp>) -> Micros {
    let Some(time) = time else { return 0 };
    assert_eq!(time.nanos % 1_000, 0, "whole microseconds");
    time.seconds * 1_000_000 + Micros::from(time.nanos / 1_000)
}

fn timestamp(micros: Micros) -> Timestamp {
    let rest = Duration::from_micros(micros.rem_euclid(1_000_000).unsigned_abs());
    Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(rest.subsec_nanos()).expect("below a second"),
    }
}
