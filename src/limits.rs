//! Every limit in one place. Each says its unit, who or what is limited, and what happens at the limit.
//!
//! «Refused» means INVALID_ARGUMENT where nothing else is said. Texts are limited in characters, not in bytes.

use std::time::Duration;

// Calls and messages.

/// The longest time that a call may take, but for `VerifyLedger`, health's `Watch` and reflection. A longer deadline of
/// the caller is cut to it; past it the call answers DEADLINE_EXCEEDED. Its statements and locks end with it.
pub const CALL_MAX: Duration = Duration::from_secs(30);
/// Bytes of one request message. A larger one is refused with MESSAGE_TOO_LARGE. 1,000 allocations take
/// a quarter of it.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one answer: what gRPC clients accept by default. A list ends its page early to stay below it.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the metadata of one request; more is refused by HTTP/2 with status 431. A token with 100 enterprises
/// takes about 6 KiB.
pub const METADATA_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of an error with all its details. Clients refuse trailers above 8 KiB, so violations are left
/// out to stay below.
pub const STATUS_BYTES_MAX: usize = 6 * 1024;
/// Violations that one error lists. All are counted in its metadata `violations_total`.
pub const VIOLATIONS_MAX: usize = 20;
/// Characters of the text of one violation, and of each error text that holds a value of the caller; the rest is cut.
pub const VIOLATION_CHARS_MAX: usize = 200;
/// The delay that RetryInfo gives to callers before they repeat a call that failed for a transient reason.
pub const RETRY_DELAY: Duration = Duration::from_millis(500);

// Arguments of all services.

/// Characters of an id or key that the caller chooses; a longer one is refused.
pub const ID_CHARS_MAX: usize = 128;
/// Characters of a name; a longer one is refused.
pub const NAME_CHARS_MAX: usize = 200;
/// Characters of a note, reason, description or message; a longer one is refused.
pub const NOTE_CHARS_MAX: usize = 1_000;
/// Characters of a link; a longer one is refused.
pub const LINK_CHARS_MAX: usize = 1_000;
/// Characters of a currency or unit; a longer one is refused.
pub const UNIT_CHARS_MAX: usize = 32;
/// Values of one filter of a list; more are refused.
pub const FILTER_VALUES_MAX: usize = 500;
/// Records of a page whose size the caller leaves unset.
pub const PAGE_SIZE_DEFAULT: u32 = 100;
/// Records of a page. A larger size is cut to it on the first page, and refused on a page that skips records.
pub const PAGE_SIZE_MAX: u32 = 500;
/// Records that a page may skip by its number or offset; more is refused. Skipped records are read all the same, page
/// tokens have no such limit.
pub const PAGE_OFFSET_MAX: u64 = 1_000_000;
/// Items of one `SubmitAllocations`; more are refused.
pub const SUBMIT_ITEMS_MAX: usize = 1_000;
/// How far ahead of the database's clock a reservation may expire: 366 days. A later time is refused.
pub const EXPIRE_AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Open reservations that `GetBalance` lists, oldest first, about 100 KiB. All are counted and summed.
pub const RESERVATIONS_SHOWN_MAX: usize = 1_000;

// Buckets.

/// Buckets of a page. A larger limit is cut to it on the first page, and refused together with an offset.
pub const BUCKETS_PAGE_MAX: u32 = 1_000;
/// References of one kind (products, resources, parties) that a bucket may hold; more are refused.
pub const BUCKET_REFERENCES_MAX: usize = 100;
/// Bytes of a bucket's `extension` as JSON; a larger one is refused.
pub const BUCKET_EXTENSION_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all members of a bucket as JSON; more is refused. An answer has room for some tens of such buckets.
pub const BUCKET_BYTES_MAX: usize = 128 * 1024;

// Book building (CAS).

/// CAS allocations of a page whose size the caller leaves unset.
pub const CAS_PAGE_DEFAULT: u32 = 250;
/// CAS allocations of a page. A larger size is cut to it on the first page, and refused on a later page by number.
pub const CAS_PAGE_MAX: u32 = 1_000;
/// Criteria of one search, which is more than a record has fields; more are refused.
pub const CRITERIA_MAX: usize = 50;
/// Bytes of the value of one criterion, enough for a list of [`FILTER_VALUES_MAX`] ids; more is refused.
pub const CRITERION_BYTES_MAX: usize = 512 * 1024;
/// Fields that a search may be sorted by; more are refused.
pub const SORT_FIELDS_MAX: usize = 8;
/// Locks of a process over which the changes of CAS allocations are spread by record. Changes of different records that
/// share a lock wait for each other; several times the connections of a pool make that rare.
pub const CAS_RECORD_LOCKS: usize = 256;
/// Status messages, and likewise comments, of one CAS allocation; more are refused. 200 of each at full
/// length fit an answer.
pub const CAS_ELEMENTS_MAX: usize = 200;
/// Characters of a comma-separated list of members to return, enough for all members by their longest names; a
/// longer list is refused.
pub const FIELDS_CHARS_MAX: usize = 10_000;
/// Operations of one patch; more are refused.
pub const PATCH_OPERATIONS_MAX: usize = 1_000;
/// Bytes of memory that the values and copies of one patch may take, those of the original record included; more is
/// refused. It is twice the largest request. Without it, twenty copies of a document into itself would fill the memory.
pub const PATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Characters of a JSON pointer, more than the longest path of a member has; a longer one is refused.
pub const POINTER_CHARS_MAX: usize = 1_000;
/// Levels of arrays and objects in a JSON value; a deeper one is refused. The deepest record has four. Code that walks
/// a document recurses once per level.
pub const JSON_DEPTH_MAX: usize = 32;
/// Values of one JSON text, members and elements included; more are refused. The largest record has about
/// a sixth of it.
pub const JSON_VALUES_MAX: usize = 10_000;

// Catalogue.

/// Allocations of one company; one more is refused with LIMIT_REACHED. The list of all of them is one answer.
pub const CATALOGUE_ALLOCATIONS_MAX: u32 = 1_000;
/// Characters of one text of an allocation in the catalogue; a longer one is refused.
pub const CATALOGUE_TEXT_CHARS_MAX: usize = 10_000;
/// Languages of one allocation in the catalogue; more are refused.
pub const CATALOGUE_LANGUAGES_MAX: usize = 100;
/// Bytes of all texts of one allocation in the catalogue, so that the answer of a write fits; more are refused.
pub const CATALOGUE_TEXTS_BYTES_MAX: usize = 1024 * 1024;

// Tokens and their keys.

/// Enterprises, and likewise companies, of one token; a token with more is refused with TOKEN_INVALID.
pub const TOKEN_MEMBERSHIPS_MAX: usize = 100;
/// How far the clocks of the token's issuer and of the server may differ before a token is refused as expired
/// or not yet valid.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(5);
/// Characters of a token's subject, as OpenID Connect limits it; a longer one is refused with TOKEN_INVALID.
pub const TOKEN_SUBJECT_CHARS_MAX: usize = 255;
/// Verified tokens that a process keeps in its cache, about 2 KiB each; a full cache drops entries.
pub const TOKENS_REMEMBERED_MAX: usize = 10_000;
/// How long a verified token stays in the cache. After that its key must still be in the JWKS.
pub const TOKEN_REMEMBERED_MAX: Duration = Duration::from_secs(60);
/// The shortest time between two reads of a JWKS for unknown key ids; calls in between use the document as it was read.
pub const JWKS_REFRESH_MIN: Duration = Duration::from_secs(60);
/// How long a JWKS is used before it is read again, so that a key which its issuer withdrew stops being accepted.
pub const JWKS_AGE_MAX: Duration = Duration::from_secs(600);
/// How long reading a JWKS may take; after that it counts as unreadable. Calls with an unknown key wait for it.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a JWKS document; a larger one counts as unreadable. A key takes about 500 bytes.
pub const JWKS_BYTES_MAX: u64 = 1024 * 1024;
/// Keys that are used of one JWKS document; those behind are ignored.
pub const JWKS_KEYS_MAX: usize = 100;

// The ledger's writers and their queue.

/// Writers of a process unless it is configured otherwise. More writers than the database has spare processors
/// only make batches smaller.
pub const WRITERS_DEFAULT_MAX: usize = 8;
/// Commands that one transaction carries; the others stay queued. Beyond some hundreds a larger batch is not faster per
/// command, and its callers wait longer.
pub const BATCH_MAX: usize = 512;
/// Owners with queued commands from which on a further writer starts a batch while others are at work.
pub const JOIN_OWNERS_MIN: usize = 64;
/// How long a command waits for the batches of other writers; after that an idle writer carries it out, even alone.
pub const JOIN_WAIT_MAX: Duration = Duration::from_millis(10);
/// Commands in the queue of a process, counting each part of one that has several. A command that does not fit is
/// refused with OVERLOADED. It is a few seconds of work: callers would not wait for more.
pub const QUEUE_MAX: usize = 65_536;
/// Commands in the queue for one owner; more are refused with OVERLOADED. It is half of the queue, so that the other
/// half stays open to other owners, and has room for some thirty of the largest submissions.
pub const QUEUE_OWNER_MAX: usize = 32_768;
/// How long a batch waits for the lock of an owner that another session holds; after that the owner's commands go back
/// to the queue. It is longer than a batch of another process takes, and short for the other commands of the batch.
pub const OWNER_LOCK_WAIT_MAX: Duration = Duration::from_millis(100);
/// The first pause before the commands of such an owner are tried again. Each further pause is twice as long.
pub const PARK_MIN: Duration = Duration::from_millis(100);
/// The longest pause before the commands of such an owner are tried again.
pub const PARK_MAX: Duration = Duration::from_secs(1);
/// How long a command waits in the queue for a database to which there is no connection, or that answers neither a
/// statement nor a probe; after that DATABASE_UNAVAILABLE.
pub const OUTAGE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a writer waits for an answer before it probes the database by another connection.
pub const OUTAGE_PROBE_AFTER: Duration = Duration::from_secs(1);
/// How long probes have no answer before that is an outage: a machine that is only overloaded still answers.
pub const OUTAGE_PROBE_WAIT: Duration = Duration::from_millis(1_500);
/// The longest round trip of a writer; after that the connection is closed, though the database may answer others. It
/// takes milliseconds, and waits for each lock at most [`OWNER_LOCK_WAIT_MAX`].
pub const LEDGER_ROUND_TRIP_MAX: Duration = Duration::from_secs(7);

// Expiry of reservations.

/// Time between two sweeps for expired reservations; with the sweep itself they are released within two seconds.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// Owners whose reservations one sweep releases; the next sweep continues.
pub const SWEEP_OWNERS_MAX: i64 = 1_000;
/// How long one sweep waits for its releases; the next sweep finds again what was not released, such as the
/// reservations of an owner that another session has locked.
pub const SWEEP_ROUND_MAX: Duration = Duration::from_secs(1);
/// Expired reservations that one transaction releases, which bounds how long it locks their owners; the others follow
/// in the next transaction.
pub const EXPIRE_BATCH_MAX: usize = 1_000;

// Verification of the ledger.

/// Breaches that one verification reports; all are counted.
pub const VERIFY_BREACHES_MAX: usize = 1_000;
/// Owners that a verification checks in one statement.
pub const VERIFY_CHUNK_OWNERS: usize = 1_000;
/// Entries that a verification checks in one statement, unless a single owner has more. They are sorted
/// and joined in memory.
pub const VERIFY_CHUNK_ENTRIES: i64 = 100_000;
/// Verifications that a process runs at the same time; a further one is refused with OVERLOADED. Each keeps a processor
/// of the database busy.
pub const VERIFY_AT_ONCE_MAX: usize = 2;

// The database.

/// How long a connection attempt may take, TLS and session settings included; after that it has failed.
pub const DB_CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a statement may take before Postgres ends it. Its caller has given up by then.
pub const DB_STATEMENT_MAX: Duration = CALL_MAX;
/// How long a statement may wait for a lock before Postgres ends it; a write is then tried again. It is well below
/// [`CALL_MAX`], so that a retry fits into the call.
pub const DB_LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a transaction may stay idle before Postgres ends its session, and with it its locks.
pub const DB_IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(10);
/// How long a call waits for a connection of its lane; after that OVERLOADED if all are in use, DATABASE_UNAVAILABLE if
/// none can be made or the database does not answer.
pub const DB_CHECKOUT_MAX: Duration = Duration::from_secs(2);
/// Calls of one principal that wait for a connection of one lane; a further one is refused with OVERLOADED. They would
/// wait longer than [`DB_CHECKOUT_MAX`].
pub const DB_CHECKOUTS_WAITING_MAX: usize = 1_024;
/// Connections of each lane, whatever the size of all lanes together: one for whoever has many calls, and one for others.
pub const DB_LANE_CONNECTIONS_MIN: u32 = 2;
/// How long a read by key may take unless it is configured otherwise, its wait for a connection included; after that
/// DEADLINE, or DATABASE_UNAVAILABLE if the database answers nobody.
pub const READ_BY_KEY_MAX: Duration = Duration::from_secs(2);
/// The same for a page of a list.
pub const READ_LIST_MAX: Duration = Duration::from_secs(5);
/// The same for a search by free criteria.
pub const READ_SEARCH_MAX: Duration = Duration::from_secs(10);
/// The shortest time limit of a class of reads that can be configured.
pub const READ_LIMIT_MIN: Duration = Duration::from_millis(100);
/// How much later than the server Postgres itself ends a read that takes too long, in case the server cannot.
pub const DB_STATEMENT_GRACE: Duration = Duration::from_secs(1);
/// How long a read by key waits for an answer before it is sent by a second connection as well: the process of Postgres
/// that serves the first one may stand still.
pub const READ_HEDGE_AFTER: Duration = Duration::from_secs(1);
/// How long a read waits for an answer before the server looks whether the database answers anybody.
pub const DB_SILENCE_MAX: Duration = Duration::from_secs(3);
/// The pause before it looks again.
pub const DB_SILENCE_CHECK: Duration = Duration::from_secs(2);
/// How old an answer to anybody may be that still shows that the database answers. Without one, a probe is sent.
pub const DB_ANSWER_AGE_MAX: Duration = Duration::from_secs(1);
/// How long a probe waits for its answer; after that all reads that wait end with DATABASE_UNAVAILABLE.
pub const DB_PROBE_MAX: Duration = Duration::from_secs(2);
/// How long a connection may take to answer once its statement was cancelled; after that it is closed. Until then it
/// counts as in use.
pub const DB_SETTLE_MAX: Duration = Duration::from_secs(2);
/// How long after its last cancellation a connection's statement may still be hit by it: such a statement is sent again.
pub const DB_LATE_CANCEL_MAX: Duration = Duration::from_secs(10);
/// How long the health probe waits before it is sent by a second connection as well.
pub const HEALTH_HEDGE_AFTER: Duration = Duration::from_millis(200);
/// Reads by id that one statement carries; the others go in the next one. Beyond some hundreds a larger statement is
/// not faster per read.
pub const COALESCED_READS_MAX: usize = 256;
/// Reads by id that wait for a statement, per kind of read; a further one is refused with OVERLOADED.
pub const COALESCED_QUEUE_MAX: usize = 16_384;
/// Reads by id of one principal that wait for a statement, per kind of read; a further one is refused with OVERLOADED.
/// It is half of the queue, so that the other half stays open to others.
pub const COALESCED_PRINCIPAL_MAX: usize = 8_192;
/// Waiting reads from which on a further statement is sent while one is under way.
pub const COALESCED_JOIN_MIN: usize = 32;
/// How long fewer reads wait for the statement under way before a further one is sent; several times
/// what a statement takes.
pub const COALESCED_JOIN_WAIT_MAX: Duration = Duration::from_millis(3);
/// Statements of one kind of read that a process has under way at the same time; further reads wait.
pub const COALESCED_STATEMENTS_MAX: u32 = 2;
/// Connections for reads by id: one for each statement, and one for its repetition by [`READ_HEDGE_AFTER`].
pub const COALESCED_CONNECTIONS_MAX: u32 = 2 * COALESCED_STATEMENTS_MAX;
/// How often a read is tried, each time on another connection, if the connection turns out to be dead.
pub const DB_READ_TRIES: u32 = 4;
/// How often a write is tried before its conflict with other transactions becomes CONTENTION.
pub const DB_WRITE_TRIES: u32 = 4;
/// How long migrations wait for those of another replica; after that they fail.
pub const DB_MIGRATION_WAIT_MAX: Duration = Duration::from_secs(300);
