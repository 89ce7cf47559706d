//! What a kind of record is to the engine: the one way in which the engine knows allocations, adjustments and buckets.
//!
//! A batch goes through these steps, for all kinds together:
//! 1. [`Kind::add_owner_reads`] and [`Request::add_reads`] collect what has to be read.
//! 2. [`Kind::read`] reads it in one round trip, after the locks; [`Kind::load`] adds it to the state.
//! 3. If something is due, [`Kind::read_due`] and [`Kind::load_due`] read it in another one, and [`Kind::release_due`]
//!    releases it.
//! 4. [`Request::judge`] judges each command in order.
//! 5. [`Kind::changes`] and [`Kind::write`] write what has changed, in one round trip.
//! 6. [`Request::fill_replayed_balances`] completes the replies that repeat an earlier one.
//!
//! To add a kind, write a folder with a type that implements [`Kind`] and a type that implements [`Request`] for each
//! thing that can be asked of it, and add a line to the registry in `kinds.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::audit::{CallWrites, WriteEffect};
use crate::error::{Error, RecordName, Result};
use crate::ledger::account::{AccountKey, Balance, OwnerKind};
use crate::ledger::books::Books;
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::verification::Verification;
use crate::types::ids::{Entropy, OwnerId};
use crate::types::time::Time;

/// A kind of record: what it reads, keeps during a batch and writes.
pub trait Kind: Copy + Debug + Send + Sync + Sized + 'static {
    /// The kind of owner that the records belong to. All commands lock owners of this kind.
    const OWNER: OwnerKind;

    /// A subquery that selects those of the owners `{owners} o(owner_id)` of which something is due at `clock.now`; none if
    /// nothing of this kind ever becomes due.
    const DUE_OWNERS: Option<&'static str> = None;

    /// What verification has to check of the kind's tables.
    const VERIFICATION: Verification;

    /// The kind's prepared statements.
    type Statements: Send + Sync;
    /// The keys that a batch's commands name.
    type ReadSet: Default + Send + Sync;
    /// The rows that were read by these keys.
    type Rows: Send + Sync;
    /// The records of one owner, as they were read and changed.
    type Records: Clone + Debug + Default + Send + Sync;
    /// Facts of other tables that judgement only reads; `()` if there are none.
    type Context: Debug + Default + Send + Sync;
    /// What a batch has to write of the kind.
    type Changes<'a>: ChangeSet + Send + Sync;

    /// Prepares the statements, on a connection that plans each of them once for all parameters.
    fn prepare(client: &Client) -> impl Future<Output = PgResult<Self::Statements>> + Send;

    /// Adds what has to be read of every owner of the batch that is of the kind [`Self::OWNER`], whatever is asked: above all
    /// what the release of due reservations needs.
    fn add_owner_reads(_owner: OwnerId, _read_set: &mut Self::ReadSet) {}

    /// Sends the statements that read this read set. All are sent when the future is first polled.
    fn read(
        statements: &Self::Statements,
        client: &Client,
        read_set: &Self::ReadSet,
    ) -> impl Future<Output = PgResult<Self::Rows>> + Send;

    /// Adds what was read to the state, and the accounts that were read with it to the books. It must skip the rows of
    /// owners that are not in the books: another session has locked them.
    ///
    /// # Errors
    /// A row holds what this version does not write.
    fn load(
        rows: &Self::Rows,
        books: &mut Books,
        state: &mut KindState<Self>,
    ) -> Result<(), StoreError>;

    /// Sends the statement that reads what is due of these owners.
    fn read_due(
        _statements: &Self::Statements,
        _client: &Client,
        _due: &DueQuery,
    ) -> impl Future<Output = PgResult<Vec<Row>>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Adds what is due: of each owner at most its share; where there is more, the owner has more due.
    ///
    /// # Errors
    /// A row holds what this version does not write.
    fn load_due(
        _rows: &[Row],
        _share: usize,
        _books: &mut Books,
        _state: &mut KindState<Self>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// Releases what was loaded as due, before any command is judged.
    fn release_due(_books: &mut Books, _state: &mut KindState<Self>) {}

    /// What the batch has changed, in an order that does not depend on hashing. A record that was made and closed in the same
    /// batch is only among the new ones, in its final form.
    fn changes(state: &KindState<Self>) -> Self::Changes<'_>;

    /// Sends the statements that write these changes. All are sent when the future is first polled.
    ///
    /// # Errors
    /// The statements' own, and a number of written rows that differs from the number sent.
    fn write(
        statements: &Self::Statements,
        client: &Client,
        changes: &Self::Changes<'_>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A change that proves that the transaction was committed, if the kind can change something without a movement. Kinds
    /// whose every change is a movement leave the default, here and in [`Self::find_proof`].
    fn proof(_changes: &Self::Changes<'_>) -> Option<RecordProof> {
        None
    }

    /// Whether the change that is the proof was committed.
    fn find_proof(
        _statements: &Self::Statements,
        _client: &Client,
        _proof: RecordProof,
    ) -> impl Future<Output = PgResult<bool>> + Send {
        async { Ok(false) }
    }
}

/// What a batch has to write of one kind.
pub trait ChangeSet {
    /// Whether there is nothing to write.
    fn is_empty(&self) -> bool;
}

/// What callers can ask of a kind, and what they are answered.
pub trait Request: Clone + Debug + Send + Sync + 'static {
    /// The kind of the records that it is about.
    type Kind: Kind;
    /// What was done, or would be.
    type Reply: Debug + Send + Sync + 'static;

    /// A further owner whose value it may move, besides the one that the command names.
    fn further_owner(&self) -> Option<OwnerId> {
        None
    }

    /// Whether the command's owner may have no row yet, and gets one.
    fn creates_owner(&self) -> bool {
        false
    }

    /// The part of a batch that it takes, in records.
    fn weight(&self) -> usize {
        1
    }

    /// Adds what has to be read before it can be judged; `owner` is the command's. An account that is neither named here nor
    /// loaded by [`Kind::load`] counts as empty.
    fn add_reads(
        &self,
        owner: OwnerId,
        read_set: &mut <Self::Kind as Kind>::ReadSet,
        accounts: &mut AccountReads,
    );

    /// Judges it as if for real, and if it can be done changes the state: the engine undoes the change if the command was to
    /// be validated only. A replay is looked for before state and balance are judged. A refusal changes nothing.
    fn judge(
        &self,
        command: &CommandHead,
        books: &mut Books,
        state: &mut KindState<Self::Kind>,
    ) -> Judgement<Self::Reply>;

    /// Called with the reply of a command that was only validated and could be done: sets its [`Origin`], and hides the id
    /// of a record that was not made. `state` is as it was before the command.
    fn mark_validated(_reply: &mut Self::Reply, _owner: OwnerId, _state: &KindState<Self::Kind>) {}

    /// Adds to the writes of the call what the reply says of the caller's records. What is done besides, such as the release
    /// of what has expired, is no write of the caller.
    fn add_writes(_reply: &Self::Reply, _writes: &mut CallWrites) {}

    /// The record that a replay is about, for the error that its first answer is archived; none if nothing is ever replayed.
    fn replayed_record(_reply: &Self::Reply) -> Option<RecordName> {
        None
    }

    /// Fills in the balances that a replay shows, in the order in which its judgement named them.
    fn fill_replayed_balances(_reply: &mut Self::Reply, _balances: &[Balance]) {}
}

/// What every command says, whatever it asks.
#[derive(Clone, Copy, Debug)]
pub struct CommandHead {
    /// The owner whose value it is about.
    pub owner: OwnerId,
    /// Judge only: the reply is what would be done, and nothing is changed.
    pub validate_only: bool,
    /// Random bits for the id of a new record.
    pub entropy: Entropy,
}

/// A request about one owner's value.
#[derive(Clone, Debug)]
pub struct Command<R> {
    /// What every command says.
    pub head: CommandHead,
    /// What the caller asks for.
    pub request: R,
}

impl<R: Request> Command<R> {
    /// A command about this owner's value.
    pub fn new(owner: impl Into<OwnerId>, validate_only: bool, request: R) -> Self {
        let random = Uuid::new_v4().into_bytes();
        let mut entropy = Entropy::default();
        // The last eight bytes hold no version bits.
        entropy.copy_from_slice(&random[8..]);
        Self {
            head: CommandHead {
                owner: owner.into(),
                validate_only,
                entropy,
            },
            request,
        }
    }

    /// All owners whose value it may move.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        std::iter::once(self.head.owner).chain(self.request.further_owner())
    }
}

/// Releases what is due of an owner of the kind's owners. All that is due of an owner is released before any command on it
/// is judged, so there is nothing else to do.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseDue<K>(PhantomData<K>);

impl<K: Kind> Default for ReleaseDue<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K: Kind> Request for ReleaseDue<K> {
    type Kind = K;
    type Reply = ();

    fn add_reads(&self, _: OwnerId, _: &mut K::ReadSet, _: &mut AccountReads) {}

    fn judge(&self, _: &CommandHead, _: &mut Books, _: &mut KindState<K>) -> Judgement<()> {
        Judgement::Final(Ok(()))
    }
}

/// How a reply came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command was carried out now.
    Done,
    /// It was carried out before, under the same key.
    Replayed,
    /// It was only validated: it would be carried out.
    Validated,
}

impl From<Origin> for WriteEffect {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Done => Self::Applied,
            Origin::Replayed => Self::Replayed,
            Origin::Validated => Self::Validated,
        }
    }
}

/// The outcome of a command.
#[derive(Debug)]
pub enum Judgement<T> {
    /// It was carried out, or refused.
    Final(Result<T>),
    /// It was carried out before: the reply lacks these balances, which are read from the journal. Each is named with the
    /// version that the record stores, and the time of the movement. If its entry is archived, so is the answer; one that is
    /// missing otherwise breaks L4 and is answered with INTERNAL.
    Replay(T, Vec<BalanceAt>),
    /// More of an owner's reservations are due than one batch releases: it is judged in the next batch.
    Later,
}

impl<T> From<Result<T>> for Judgement<T> {
    fn from(result: Result<T>) -> Self {
        Self::Final(result)
    }
}

impl<T> From<Error> for Judgement<T> {
    fn from(error: Error) -> Self {
        Self::Final(Err(error))
    }
}

/// An account's balance at one of its versions, and about when it had that; 0 is before its first entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BalanceAt {
    /// The owner of the account.
    pub owner: OwnerId,
    /// The account within its owner.
    pub key: AccountKey,
    /// The version of the account.
    pub version: i64,
    /// The time of the record that names the version: that of the entry, or a later one if the record's movement did not touch
    /// the account. By a few microseconds it may also be earlier: the price of a transfer is paid a microsecond after it.
    pub time: Time,
}

/// More than the time between the first and the last movement of a batch, which are a microsecond apart at least.
const MOVEMENT_STEPS_MAX: Duration = Duration::from_millis(10);

impl BalanceAt {
    /// No entry with this version or a lower one is later.
    pub fn latest_time(&self) -> Time {
        self.time.plus(MOVEMENT_STEPS_MAX)
    }
}

/// A balance that a replay shows, as it was found; an entry that the journal lacks for no known reason has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayedBalance {
    /// The balance at the version.
    Known(Balance),
    /// The entry is archived, with all that was before this time.
    Archived {
        /// The time before which everything is archived.
        since: Time,
    },
}

/// A change without a movement that proves that a transaction was committed: no other transaction changes the same owner
/// at the same time of the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordProof {
    /// The owner whose record was changed.
    pub owner: OwnerId,
    /// The time of the change.
    pub time: Time,
}

/// The records of one kind that a batch works on.
#[derive(Debug)]
pub struct KindState<K: Kind> {
    /// By owner; an owner without records may be missing.
    pub records: HashMap<OwnerId, K::Records>,
    /// Facts of other tables that judgement only reads.
    pub context: K::Context,
}

impl<K: Kind> Default for KindState<K> {
    fn default() -> Self {
        Self {
            records: HashMap::new(),
            context: K::Context::default(),
        }
    }
}

impl<K: Kind> KindState<K> {
    /// The owner's records; empty ones if nothing of it was read.
    pub fn records_mut(&mut self, owner: OwnerId) -> &mut K::Records {
        self.records.entry(owner).or_default()
    }

    /// All records, by owner.
    pub fn by_owner(&self) -> BTreeMap<OwnerId, &K::Records> {
        self.records
            .iter()
            .map(|(owner, records)| (*owner, records))
            .collect()
    }
}

/// The accounts that a batch's commands name.
#[derive(Debug, Default)]
pub struct AccountReads {
    /// The accounts, each of them once.
    pub accounts: HashSet<AccountName>,
}

impl AccountReads {
    /// Adds an account unless it was added before.
    pub fn add(&mut self, owner: OwnerId, key: AccountKey) {
        self.accounts.insert(AccountName { owner, key });
    }
}

/// An account and its owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountName {
    /// The owner of the account.
    pub owner: OwnerId,
    /// The account within its owner.
    pub key: AccountKey,
}

/// What is asked for as due.
#[derive(Debug)]
pub struct DueQuery {
    /// The owners of which something is due.
    pub owners: Vec<Uuid>,
    /// The time that makes it due: the same as the books'.
    pub now: DateTime<Utc>,
    /// The rows to read of each owner: its share and one more, which shows whether there is more.
    pub limit: i64,
}
