//! Every bound in one place, each with its reason.

use std::time::Duration;

/// The longest a call may last: past it a caller has given up, and its locks must not outlive it.
pub const CALL_MAX: Duration = Duration::from_secs(30);
/// The largest request: what gRPC clients send by default, and 1,000 allocations fit four times.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest answer: what gRPC clients accept by default.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest request metadata: a token with 100 enterprises has about 6 KiB.
pub const METADATA_BYTES_MAX: u32 = 16 * 1024;
/// A status with all its details: clients refuse trailers above 8 KiB.
pub const STATUS_BYTES_MAX: usize = 6 * 1024;
/// Violations listed in one error; the rest is counted.
pub const VIOLATIONS_MAX: usize = 20;
/// Characters of one violation's text.
pub const VIOLATION_CHARS_MAX: usize = 200;

/// Characters of an id or key that the caller makes.
pub const ID_CHARS_MAX: usize = 128;
/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 200;
/// Characters of notes, reasons, descriptions and messages.
pub const NOTE_CHARS_MAX: usize = 1_000;
/// Characters of a link.
pub const LINK_CHARS_MAX: usize = 1_000;
/// Characters of a currency or unit.
pub const UNIT_CHARS_MAX: usize = 32;
/// Values of one list filter.
pub const FILTER_VALUES_MAX: usize = 500;

/// Records of a page unless the caller says otherwise.
pub const PAGE_SIZE_DEFAULT: u32 = 100;
/// Records of a page at the most.
pub const PAGE_SIZE_MAX: u32 = 500;
/// Page number times size at the most: skipped records are read all the same.
pub const PAGE_OFFSET_MAX: u64 = 1_000_000;

/// Buckets of a page at the most.
pub const BUCKETS_PAGE_MAX: u32 = 1_000;
/// References of one kind that a bucket holds: as many products and resources as one balance is ever shared by.
pub const BUCKET_REFERENCES_MAX: usize = 100;
/// Bytes of a bucket's extension as JSON.
pub const BUCKET_EXTENSION_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all members of a bucket as JSON, so that some tens of the largest fit an answer.
pub const BUCKET_BYTES_MAX: usize = 128 * 1024;
/// CAS allocations of a page unless the caller says otherwise.
pub const CAS_PAGE_DEFAULT: u32 = 250;
/// CAS allocations of a page at the most.
pub const CAS_PAGE_MAX: u32 = 1_000;
/// Criteria of a search: more than a record has fields.
pub const CRITERIA_MAX: usize = 50;
/// Bytes of a criterion's value: a list of as many ids as a filter takes.
pub const CRITERION_BYTES_MAX: usize = 512 * 1024;
/// Fields that a search is sorted by.
pub const SORT_FIELDS_MAX: usize = 8;
/// Turns that the changes of CAS allocations are spread over: some times the connections of a pool.
pub const CAS_TURNS: usize = 256;
/// Status messages, and comments, of one CAS allocation: two hundred of each at their longest fit an answer.
pub const CAS_ELEMENTS_MAX: usize = 200;
/// Characters of a list of members to return: every member by its longest name, and then some.
pub const FIELDS_CHARS_MAX: usize = 10_000;

/// Operations of one patch.
pub const PATCH_OPERATIONS_MAX: usize = 1_000;
/// Bytes that a patch's values and copies take in memory, those of the record that it begins with included: twice what the
/// largest request brings. Else twenty copies of a document into itself would fill the memory.
pub const PATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Characters of a JSON pointer: every member's path, and then some.
pub const POINTER_CHARS_MAX: usize = 1_000;
/// Arrays and objects inside each other in a JSON value: the deepest record has four, and whoever walks a document calls
/// itself once a level.
pub const JSON_DEPTH_MAX: usize = 32;
/// Values of one JSON text, members and elements included: the largest record has about a sixth.
pub const JSON_VALUES_MAX: usize = 10_000;

/// Allocations of a company: a catalogue that people choose from, and its list one answer.
pub const CATALOGUE_ALLOCATIONS_MAX: u32 = 1_000;
/// Characters of a text of the catalogue: some pages.
pub const CATALOGUE_TEXT_CHARS_MAX: usize = 10_000;
/// Languages of one allocation: more than anybody translates to.
pub const CATALOGUE_LANGUAGES_MAX: usize = 100;
/// Bytes of all texts of one allocation, so that what a write answers fits.
pub const CATALOGUE_TEXTS_BYTES_MAX: usize = 1024 * 1024;

/// Open reservations that a balance shows, of those that it counts: about 100 KiB.
pub const RESERVATIONS_SHOWN_MAX: usize = 1_000;

/// Enterprises, and companies, of one token.
pub const TOKEN_MEMBERSHIPS_MAX: usize = 100;
/// How far the clocks of issuer and server may differ.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(5);
/// How often a JWKS is read again at the most, for a key id that it did not hold.
pub const JWKS_REFRESH_MIN: Duration = Duration::from_secs(60);

/// How long a JWKS is trusted without a look at it: a key that its issuer withdrew must not live for ever.
pub const JWKS_AGE_MAX: Duration = Duration::from_secs(600);
/// How long reading a JWKS may take: calls with a new key wait for it.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest JWKS that is read: a key has about 500 bytes.
pub const JWKS_BYTES_MAX: u64 = 1024 * 1024;
/// Keys of one JWKS: those behind are not read.
pub const JWKS_KEYS_MAX: usize = 100;
/// Characters of a token's subject: what OpenID Connect allows.
pub const TOKEN_SUBJECT_CHARS_MAX: usize = 255;
/// Verified tokens that are remembered: about 2 KiB each.
pub const TOKENS_REMEMBERED_MAX: usize = 10_000;
/// How long a verified token is remembered: after that a key that was withdrawn no longer counts.
pub const TOKEN_REMEMBERED_MAX: Duration = Duration::from_secs(60);

/// How long a caller should wait before it tries again what failed in passing.
pub const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Time between two sweeps for due reservations: with the sweep itself they are released within two seconds.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// Owners whose reservations one sweep releases; the next one goes on.
pub const SWEEP_OWNERS_MAX: i64 = 1_000;
/// How long one sweep waits for the owners that it has found: one that another session holds is met again by the next.
pub const SWEEP_ROUND_MAX: Duration = Duration::from_secs(1);
/// How far ahead a reservation may expire: a year and a day.
pub const EXPIRE_AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Due reservations that one transaction releases: bounds how long it holds its owners.
pub const EXPIRE_BATCH_MAX: usize = 1_000;
/// Commands that one transaction carries: past some hundreds a larger one gains nothing, and its callers wait.
pub const BATCH_MAX: usize = 512;
/// Writers of a process unless it is told otherwise: with more than the database has processors to spare, their batches
/// only grow smaller.
pub const WRITERS_DEFAULT_MAX: usize = 8;
/// Owners with commands waiting for which a writer joins those at work: so many make a batch that is worth its cost.
pub const JOIN_OWNERS_MIN: usize = 64;
/// How long a command waits for the batches of others before a writer that has nothing to do takes it, though it be alone.
pub const JOIN_WAIT_MAX: Duration = Duration::from_millis(10);
/// Commands that wait for the writers, counting each part of one that has many: a few seconds of work; more would only
/// wait longer than their callers do.
pub const QUEUE_MAX: usize = 65_536;
/// Commands that wait for one owner: thirty of the largest submissions, and half of the queue, so that the other half is
/// open to everybody else.
pub const QUEUE_OWNER_MAX: usize = 32_768;
/// How long a batch waits for an owner that another session holds: longer than another process's batch takes, and short
/// for those who only happen to be in the same batch.
pub const OWNER_LOCK_WAIT_MAX: Duration = Duration::from_millis(100);
/// The first pause before such an owner is tried again, doubled each time.
pub const PARK_MIN: Duration = Duration::from_millis(100);
/// The longest such pause.
pub const PARK_MAX: Duration = Duration::from_secs(1);
/// Items of one `SubmitAllocations`.
pub const SUBMIT_ITEMS_MAX: usize = 1_000;
/// How long a command waits for a database to which there is no connection, or that answers neither a statement nor a
/// probe.
pub const OUTAGE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a writer waits for an answer before it probes the database by another connection.
pub const OUTAGE_PROBE_AFTER: Duration = Duration::from_secs(1);
/// How long probes stay without an answer before that is an outage: a machine that has too much to do still answers.
pub const OUTAGE_PROBE_WAIT: Duration = Duration::from_millis(1_500);
/// A writer's longest round trip: it takes milliseconds, and waits for each lock at most `OWNER_LOCK_WAIT_MAX`; past this
/// the connection is given up, though the database may answer others.
pub const LEDGER_ROUND_TRIP_MAX: Duration = Duration::from_secs(7);

/// Breaches that a verification tells of: whoever reads them has enough to do; all are counted.
pub const VERIFY_BREACHES_MAX: usize = 1_000;
/// Owners that a verification takes together at the most.
pub const VERIFY_CHUNK_OWNERS: usize = 1_000;
/// Entries that a verification takes together, unless one owner has more: sorting and joining them stays in memory.
pub const VERIFY_CHUNK_ENTRIES: i64 = 100_000;
/// Verifications that a process runs at the same time: each takes a processor of the database for as long as it lasts.
pub const VERIFY_AT_ONCE_MAX: usize = 2;

/// The longest a connection attempt to the database may take, TLS and session settings included.
pub const DB_CONNECT_MAX: Duration = Duration::from_secs(5);
/// The longest statement: its caller has given up by then, and only the server can end it.
pub const DB_STATEMENT_MAX: Duration = CALL_MAX;
/// The longest wait for a lock: well below a call, so that a retry of our own still fits.
pub const DB_LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest a transaction may hold its locks without a statement: its client is gone.
pub const DB_IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(10);
/// The longest wait for a pooled connection: a database that answers has one free by then.
pub const DB_CHECKOUT_MAX: Duration = Duration::from_secs(2);
/// Reads by id that go in one statement: past some hundreds a larger one gains nothing.
pub const COALESCED_READS_MAX: usize = 256;
/// Reads by id that wait for a statement: some times what a server takes on at once.
pub const COALESCED_QUEUE_MAX: usize = 16_384;
/// How long such a statement may take: it takes milliseconds, and past this the network stands still.
pub const COALESCED_READ_MAX: Duration = Duration::from_secs(5);
/// Reads waiting for which a further statement is sent while one is under way: so many are worth its cost.
pub const COALESCED_JOIN_MIN: usize = 32;
/// How long fewer wait for the one that is under way: some times what it takes.
pub const COALESCED_JOIN_WAIT_MAX: Duration = Duration::from_millis(3);
/// Such statements at the same time, of one kind: while one is answered, the next one gathers.
pub const COALESCED_STATEMENTS_MAX: u32 = 2;
/// How often a read is tried whose connection turns out to be dead.
pub const DB_READ_TRIES: u32 = 4;
/// How often a write is tried before its conflict becomes the caller's.
pub const DB_WRITE_TRIES: u32 = 4;
/// The longest wait for another replica's migrations.
pub const DB_MIGRATION_WAIT_MAX: Duration = Duration::from_secs(300);
