//! Every limit in one place. Each says its unit, who or what is limited, and what happens at the limit.
//!
//! «Refused» means INVALID_ARGUMENT where nothing else is said. Texts are limited in characters, not in bytes.

use std::time::Duration;

// Calls and messages.

/// The longest time that a call may take, but for `VerifyLedger`, health's `Watch` and reflection. A longer deadline of
/// the caller is cut to it; past it the call answers DEADLINE_EXCEEDED. Its statements and locks end with it.
pub const CALL_MAX: Duration = Duration::from_secs(30);
/// Calls in progress of a process unless `--calls-max` says otherwise. Half as many writes may wait for one owner.
pub const CALLS_MAX_DEFAULT: usize = 4_096;
/// Bytes of one request message. A larger one is refused with MESSAGE_TOO_LARGE. 1,000 allocations take
/// a quarter of it.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Elements of each list of a request, counted before it is decoded; more are refused. It is twice the largest limit of
/// any list, so that the services' own limits, which are smaller, name the rule of the field.
pub const REQUEST_LIST_MAX: usize = 2 * SUBMIT_ITEMS_MAX;
/// How many times its own bytes a request may take in memory once it is decoded; more is refused before. Only lists of
/// empty elements come close.
pub const REQUEST_GROWTH_MAX: usize = 4;
/// Bytes of memory that any request may take, however few bytes it has itself.
pub const REQUEST_MEMORY_MIN: usize = 1024 * 1024;
/// Bytes of requests that are being received or handled, for a process; see `--request-bytes-max`.
pub const REQUEST_BYTES_UNDER_WAY_MAX: usize = 64 * 1024 * 1024;
/// Bytes of answers that are being made or sent, for a process; see `--answer-bytes-max`.
pub const ANSWER_BYTES_UNDER_WAY_MAX: usize = 64 * 1024 * 1024;
/// The part of the bytes of requests, and of answers, that one principal may take: a quarter.
pub const PRINCIPAL_PART_OF_BYTES: usize = 4;
/// Bytes of a request that is complete with its first piece and not counted among those under way: the limit for calls in
/// progress bounds them well enough.
pub const REQUEST_BYTES_UNCOUNTED: usize = 16 * 1024;
/// Bytes that a request which is not complete yet counts besides those received, for the memory that its stream takes.
pub const REQUEST_OVERHEAD_BYTES: usize = 4 * 1024;
/// How long a request's body may bring nothing; after that the call ends with DEADLINE_EXCEEDED.
pub const BODY_STALL_MAX: Duration = Duration::from_secs(5);
/// Bytes of a request to health. The longest service name takes a tenth of it.
pub const HEALTH_REQUEST_BYTES_MAX: usize = 1024;
/// Bytes of one request to reflection; a larger one is refused.
pub const REFLECTION_REQUEST_BYTES_MAX: usize = 4 * 1024;
/// Health watches that a process serves; a further one is refused with OVERLOADED.
pub const WATCHES_MAX: usize = 1_024;
/// Health watches on one connection; a further one is refused with OVERLOADED. A client watches one name or a few.
pub const CONNECTION_WATCHES_MAX: usize = 16;
/// How long a health watch lasts; its client then begins another one.
pub const WATCH_MAX: Duration = Duration::from_secs(30 * 60);
/// Reflection calls that a process serves; a further one is refused with OVERLOADED.
pub const REFLECTIONS_MAX: usize = 32;
/// Reflection calls on one connection; a further one is refused with OVERLOADED. Tools make one or two.
pub const CONNECTION_REFLECTIONS_MAX: usize = 4;
/// How long a reflection call lasts at most. Tools end theirs within a second.
pub const REFLECTION_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer that are passed to HTTP/2 at a time. The rest stays counted until the client has taken them.
pub const ANSWER_PIECE_BYTES: usize = 64 * 1024;
/// How much longer than its call's deadline an answer may take to be sent to a client that does not read it.
pub const ANSWER_SEND_GRACE: Duration = Duration::from_secs(5);
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
/// Characters of the text of one violation, and of each error text that holds a value of the caller; the rest is cut. The
/// list of the names that are known, of a name that is not, comes behind the text and is not cut.
pub const VIOLATION_CHARS_MAX: usize = 200;
/// The delay that RetryInfo gives to callers before they repeat a call that failed for a transient reason.
pub const RETRY_DELAY: Duration = Duration::from_millis(500);

// Connections.

/// How long a new connection may take to send the preface of HTTP/2, its first 24 bytes; after that it is closed. Until
/// then it takes one of the process's connections without being of use.
pub const CONNECTION_PREFACE_MAX: Duration = Duration::from_secs(10);
/// How long the handshake of TLS may take; after that the connection is closed. The preface has its own time after it.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at the files of TLS, whether they have changed.
pub const TLS_RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of a file with certificates or a key. A bundle of all public authorities takes about 250 KiB.
pub const PEM_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How long a connection whose handshake has failed stays open, so that the client can read why.
pub const TLS_LINGER_MAX: Duration = Duration::from_secs(1);
/// Bytes that are read meanwhile, and thrown away.
pub const TLS_LINGER_BYTES_MAX: u64 = 64 * 1024;
/// Characters of the name in a client's certificate that the access log has.
pub const PEER_IDENTITY_CHARS_MAX: usize = 256;
/// The age at which a connection gets GOAWAY unless it is configured otherwise: a client behind a load balancer of
/// connections, or behind a name that it looks up only when it connects, finds new servers within this time.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// By how much that age differs from connection to connection, in percent of it: at most so much more or less.
pub const CONNECTION_AGE_JITTER_PERCENT: u32 = 10;
/// How long a connection may be without a call before it gets GOAWAY, unless it is configured otherwise.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(10 * 60);
/// How long a connection without a call stays open after GOAWAY, several round trips, so that calls which the client
/// has sent before it read the GOAWAY are still answered; after that it is closed.
pub const CONNECTION_GOAWAY_GRACE: Duration = Duration::from_secs(1);
/// How long calls in progress may keep a connection open after GOAWAY, but for a shutdown, which has its own time; after
/// that they are cut off. Most calls end within [`CALL_MAX`]. Those that it does not limit would have to begin anew:
/// `VerifyLedger`, which over a large ledger takes tens of minutes. A `Watch` of health never ends by itself.
pub const CONNECTION_CALLS_GRACE: Duration = Duration::from_secs(60 * 60);
/// After this time without a frame the server sends a PING.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a client may take to acknowledge a PING; after that its connection is closed.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that a client may send of one call before the handler reads them: a quarter of the largest request, so that a
/// large request needs few round trips.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes that a client may send on one connection before handlers read them. It bounds what the server holds of requests
/// that no handler has read.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of answers of one call that are buffered while the client does not read them; beyond it the next part of the
/// answer is not asked for. Four frames keep the socket busy. A single message is one part, whatever its size.
pub const STREAM_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Calls of one connection that its client has cancelled before the server came to read them; with one more the
/// connection is closed (ENHANCE_YOUR_CALM). They count as no call in progress, but take memory: 16 KiB of metadata each
/// at most. A client that was paused may cancel many calls at once whose deadlines have passed.
pub const STREAM_RESETS_WAITING_MAX: usize = 128;
/// Calls of one connection that the server has reset because their frames broke the protocol or exceeded the number of
/// concurrent calls, over the connection's life; with one more it is closed (ENHANCE_YOUR_CALM). A correct client causes
/// them only before it has read the server's settings.
pub const STREAM_ERRORS_MAX: usize = 1_024;
/// Bytes of the table by which the client compresses metadata, HTTP/2's default: it has room for a usual token, which
/// the client then sends once for each connection.
pub const HEADER_TABLE_BYTES: u32 = 4_096;
/// Connections for metrics that are answered at the same time; further ones wait to be accepted.
pub const METRICS_CONNECTIONS_MAX: usize = 16;
/// How long a request for metrics may take, its answer included; after that its connection is closed.
pub const METRICS_REQUEST_MAX: Duration = Duration::from_secs(10);
/// Connections of the port that serves health alone. Probes open one at a time each, and close it.
pub const HEALTH_CONNECTIONS_MAX: usize = 64;
/// Those of one client address: what keeps a connection open for `Watch` is a load balancer, of which there are few.
pub const HEALTH_CONNECTIONS_PER_PEER_MAX: usize = 16;
/// Calls at the same time on one of these connections.
pub const HEALTH_STREAMS_MAX: u32 = 32;
/// How long one of these connections may be without a call before it gets GOAWAY.
pub const HEALTH_CONNECTION_IDLE_MAX: Duration = Duration::from_secs(60);
/// How long no connection is accepted after the operating system has refused one, for lack of file descriptors mostly.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Files that a process keeps open besides the connections of clients and of the database: listening sockets, standard
/// streams, the runtime's own, and a reserve.
pub const OPEN_FILES_RESERVE: u64 = 64;

// Logs.

/// Lines of the access log a second of calls that were refused before their token was accepted. More are counted, and
/// their number is logged once a second.
pub const REFUSED_CALL_LINES_PER_SECOND: u32 = 100;

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
/// Records of a page. A larger size is cut to it, and refused together with a page number.
pub const PAGE_SIZE_MAX: u32 = 500;
/// Records that a page may skip by its number or offset; more is refused. Skipped records are read all the same, page
/// tokens have no such limit.
pub const PAGE_OFFSET_MAX: u64 = 1_000_000;
/// Currencies of one enterprise, those included that it holds nothing of any more; a deposit in one more is refused with
/// LIMIT_REACHED. Custody and a connection with all of them take a third of an answer.
pub const ENTERPRISE_CURRENCIES_MAX: usize = 5_000;
/// Items of one `SubmitAllocations`; more are refused.
pub const SUBMIT_ITEMS_MAX: usize = 1_000;
/// How far ahead of the database's clock a reservation may expire: 366 days. A later time is refused.
pub const EXPIRE_AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Open reservations of a page of `GetBalance`, about 100 KiB; a larger `page_size` is reduced to it.
pub const RESERVATIONS_PAGE_MAX: u32 = 1_000;

// Buckets.

/// Buckets of a page. A larger limit is cut to it, and refused together with an offset.
pub const BUCKETS_PAGE_MAX: u32 = 1_000;
/// Units of one page of `GetAccumulatedBalance`, which is all unless the buckets of one account have more.
pub const ACCUMULATED_PAGE_MAX: u32 = 1_000;
/// References of one kind (products, resources, parties) that a bucket may hold; more are refused.
pub const BUCKET_REFERENCES_MAX: usize = 100;
/// Bytes of a bucket's `extension` as JSON; a larger one is refused.
pub const BUCKET_EXTENSION_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all members of a bucket as JSON; more is refused. An answer has room for some tens of such buckets.
pub const BUCKET_BYTES_MAX: usize = 128 * 1024;

// Book building (CAS).

/// CAS allocations of a page whose size the caller leaves unset.
pub const CAS_PAGE_DEFAULT: u32 = 250;
/// CAS allocations of a page. A larger size is cut to it, and refused together with a page number.
pub const CAS_PAGE_MAX: u32 = 1_000;
/// Criteria of one search, which is more than a record has fields; more are refused. Criteria on one element of an array
/// count one by one.
pub const CRITERIA_MAX: usize = 50;
/// The cost of all criteria of one search; more is refused. A unit is up to 5 ms of a processor of the database for 10,000
/// records of the firm that have two comments of 840 characters each, if these are made to be slow to search.
pub const SEARCH_COST_MAX: usize = 100;
/// The cost of a criterion on a field that is no member of an array's elements.
pub const CRITERION_COST: usize = 1;
/// The cost of a criterion on a member of an array's elements: all of them are read from JSON.
pub const ARRAY_CRITERION_COST: usize = 5;
/// How many bytes of what `like` on a field looks for anywhere, the longest part of the pattern behind a `%`, add 1 to
/// the cost of its criterion.
pub const LIKE_BYTES_PER_COST: usize = 4;
/// The further cost of a `like` that looks for such a part in a member of an array. Each of the part's bytes costs 1 more
/// in a pattern `%text%`.
pub const ARRAY_LIKE_COST: usize = 5;
/// The cost of each such byte in any other pattern.
pub const ARRAY_LIKE_BYTE_COST: usize = 3;
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
/// Languages of one page of `ListSupportedLanguages`, which is all unless texts are in more.
pub const LANGUAGES_PAGE_MAX: u32 = 1_000;
/// Languages of one allocation in the catalogue; more are refused.
pub const CATALOGUE_LANGUAGES_MAX: usize = 100;
/// Languages that one read of the catalogue asks for, each of which may add a dozen tags to its statement; more are refused.
pub const LANGUAGES_ASKED_MAX: usize = 20;
/// Characters of the list of languages that a read of the catalogue asks for; a longer one is refused.
pub const LANGCODE_CHARS_MAX: usize = 1_000;
/// Bytes of all texts of one allocation in the catalogue, so that the answer of a write fits; more are refused.
pub const CATALOGUE_TEXTS_BYTES_MAX: usize = 1024 * 1024;

// Tokens and their keys.

/// Enterprises, and likewise companies, of one token. If it has more, the calls that need them are refused with
/// TOKEN_INVALID, as they are with a malformed claim.
pub const TOKEN_MEMBERSHIPS_MAX: usize = 100;
/// How far the clocks of the token's issuer and of the server may differ before a token is refused as expired
/// or not yet valid.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(5);
/// How far ahead a token's `exp` may be, by default; one that is further ahead is refused with TOKEN_INVALID.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters of a token's subject, as OpenID Connect limits it; a longer one is refused with TOKEN_INVALID.
pub const TOKEN_SUBJECT_CHARS_MAX: usize = 255;
/// Verified tokens that a process keeps in its cache, about 2 KiB each; a full cache drops entries.
pub const TOKENS_REMEMBERED_MAX: usize = 10_000;
/// How long a verified token stays in the cache. After that its key must still be in the JWKS.
pub const TOKEN_REMEMBERED_MAX: Duration = Duration::from_secs(60);
/// The shortest time between two reads of a JWKS for tokens that its keys do not verify; calls in between use the
/// document as it was read. So a key that its issuer has replaced without notice works at the latest after it.
pub const JWKS_REFRESH_MIN: Duration = Duration::from_secs(60);
/// The age of a JWKS from which calls wait for it to be read again, by default. From 80 % of it on it is read again in the
/// background, so that a key which its issuer withdrew stops being accepted.
pub const JWKS_AGE_MAX: Duration = Duration::from_secs(300);
/// The age of a JWKS from which its keys are not used any more, by default: calls are answered KEYS_UNAVAILABLE. An outage
/// of the issuer that is shorter makes no token invalid.
pub const JWKS_STALE_MAX: Duration = Duration::from_secs(3_600);
/// Pause after a read of a JWKS that has failed; a fifth of the setting `--jwks-max-age` if that is less.
pub const JWKS_RETRY_PAUSE: Duration = Duration::from_secs(5);
/// How long reading a JWKS may take, discovery included; after that it counts as unreadable.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read of a JWKS may last before the calls that wait for it stop to: those whose token the keys at hand do not
/// verify are refused with TOKEN_INVALID, others use the keys at hand.
pub const JWKS_WAIT_MAX: Duration = Duration::from_secs(2);
/// Calls that wait for such a read at the same time; others do not wait. It is several times what arrives while a key
/// server answers, and so few that they do not use up the places for calls in progress.
pub const JWKS_WAITS_MAX: usize = 256;
/// Pause between two warnings of the same kind about a JWKS.
pub const JWKS_WARNING_PAUSE: Duration = Duration::from_secs(60);
/// Keys of a JWKS that are tried for one token, where several have its `kid` or are without any.
pub const JWKS_TRIES_MAX: usize = 8;
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
/// Time between two samples of how many reservations are open and overdue, where metrics are collected.
pub const RESERVATIONS_SAMPLE_INTERVAL: Duration = Duration::from_secs(15);
/// How long such a sample may take; after that there is none until the next one.
pub const RESERVATIONS_SAMPLE_MAX: Duration = Duration::from_secs(2);
/// Up to how many reservations a sample counts; above that, what is open is estimated.
pub const RESERVATIONS_COUNTED_MAX: i64 = 10_000;
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

// Seals of the ledger's periods.

/// Owners that a seal locks at the same time, for the instant of one statement.
pub const SEAL_LOCK_OWNERS: i64 = 100;
/// Owners whose part of a period a seal writes in one transaction, from which it goes on if it is interrupted.
pub const SEAL_BATCH_OWNERS: i64 = 100;
/// Sealed entries that a verification reads at a time, unless a single owner has more in a period: Postgres sorts them by
/// time in its memory.
pub const VERIFY_SEAL_CHUNK_ENTRIES: i64 = 250_000;
/// Connections that read sealed entries while a verification hashes them again.
pub const VERIFY_SEAL_CONNECTIONS: usize = 2;

// Archives.

/// Rows of a file that are gathered in memory before they are written: one row group of Parquet.
pub const ARCHIVE_GROUP_ROWS_MAX: usize = 1 << 16;
/// Their size in memory, which texts of allocations may reach with fewer rows.
pub const ARCHIVE_GROUP_BYTES_MAX: usize = 32 << 20;
/// The largest row group that is read: other programs may have written it.
pub const ARCHIVE_READ_ROWS_MAX: usize = 1 << 20;
/// What is found wrong with one archive, and is listed.
pub const ARCHIVE_FAULTS_MAX: usize = 1_000;
/// Records of a partition that stay on line although their partition is archived, because they were closed later. They are
/// moved while everybody waits.
pub const ARCHIVE_MOVED_RECORDS_MAX: usize = 1_000;
/// Open records of such a partition, which may be closed at any moment until it is taken away: so they are looked for then.
pub const ARCHIVE_OPEN_RECORDS_MAX: usize = 5_000;
/// Partitions that are taken away in one transaction.
pub const ARCHIVE_DETACH_AT_ONCE: usize = 8;
/// Archived rows of a DEFAULT partition that are deleted in one transaction.
pub const ARCHIVE_DELETE_ROWS: i64 = 1_000;

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
/// How long a read by key or a list waits for an answer before it is sent by a second connection as well, in its
/// principal's turn: the process of Postgres that serves the first one may stand still.
pub const READ_HEDGE_AFTER: Duration = Duration::from_secs(1);
/// The same for a search, which may take that long by itself.
pub const SEARCH_HEDGE_AFTER: Duration = Duration::from_secs(2);
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
/// How long a small write waits for the answer to its BEGIN, which takes neither locks nor work; after that another
/// connection is used, if the database answers others.
pub const DB_BEGIN_MAX: Duration = Duration::from_secs(2);
/// The age below which a connection of small writes is kept although its session is read-only: its database is then
/// read-only too, rather than only the session.
pub const DB_RENEW_PAUSE: Duration = Duration::from_secs(1);
/// The pause between two looks at the state of the database. With the time that one takes the state is known to a second.
pub const DB_LOOK_INTERVAL: Duration = Duration::from_millis(400);
/// How long such a look may take; after that the database counts as one that does not answer.
pub const DB_LOOK_MAX: Duration = Duration::from_millis(500);
/// How long a migration waits for a table before it lets those pass that wait behind it; it is tried again then.
pub const MIGRATION_LOCK_WAIT_MAX: Duration = Duration::from_millis(50);
/// The pause before it is tried again.
pub const MIGRATION_LOCK_PAUSE: Duration = Duration::from_millis(200);
/// How long migrations wait for those of another replica; after that they fail.
pub const DB_MIGRATION_WAIT_MAX: Duration = Duration::from_secs(300);
/// How long a replica pauses before it asks again for the lock of migrations.
pub const DB_MIGRATION_PAUSE: Duration = Duration::from_millis(50);
/// How long a server waits before it looks again at what its role may do, if the database did not answer or has no tables.
pub const DB_ROLE_CHECK_PAUSE: Duration = Duration::from_secs(5);

// Request ids.

/// The shortest time for which request ids are kept. Programs repeat a call within hours; people may do so after days.
pub const REQUEST_KEYS_KEPT_MIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Request ids that `earmark maintain` reads, and deletes of them what is old, in one transaction.
pub const REQUEST_KEYS_BATCH: u32 = 1_000;

// Partitions.

/// How many periods after the current one have partitions, unless `--ahead` says otherwise.
pub const PARTITIONS_AHEAD: u32 = 3;
/// The smallest number of periods ahead. With fewer, a server warns.
pub const PARTITIONS_AHEAD_MIN: u32 = 2;
/// The largest number of periods ahead.
pub const PARTITIONS_AHEAD_MAX: u32 = 60;
/// How far in the future the rows must lie that the DEFAULT partition refuses while partitions are made. It is longer than a
/// day, so that a daily run finds and drops what an interrupted one has left before it refuses anything.
pub const PARTITION_NOTICE: Duration = Duration::from_secs(26 * 60 * 60);
/// The size of a DEFAULT partition that is read under a lock, at about 1 GB a second. A larger one is read before.
pub const PARTITION_SCAN_BYTES_MAX: i64 = 8 << 20;
/// How long a statement that changes partitions may take, the wait for its lock included, before it lets others pass.
pub const PARTITION_CHANGE_MAX: Duration = Duration::from_millis(90);
/// The longest pause before such a statement is tried again. The first one is [`MIGRATION_LOCK_PAUSE`].
pub const PARTITION_LOCK_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a table's partitions are planned in one run, if rows come into its DEFAULT partition meanwhile.
pub const PARTITION_PLANS_MAX: u32 = 4;
/// Time between two counts of the partitions that are ahead.
pub const PARTITION_COUNT_INTERVAL: Duration = Duration::from_secs(60);
/// How long such a count may take; after that there is none until the next one.
pub const PARTITION_COUNT_MAX: Duration = Duration::from_secs(2);
/// The pause before a server warns again of the same partitions that are missing.
pub const PARTITION_WARNING_PAUSE: Duration = Duration::from_secs(60 * 60);
/// Time between two runs of what `earmark maintain` does, in `earmark dev`.
pub const DEV_MAINTAIN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

// Logs and traces.

/// Records that the access log names of one call; all are counted.
pub const LOGGED_RECORDS_MAX: usize = 10;
/// Spans that wait to be exported. Further ones are dropped, and counted. A span takes about one KiB.
pub const SPANS_WAITING_MAX: usize = 2_048;
/// Characters of a statement that its span has; the rest is cut off.
pub const TRACED_STATEMENT_CHARS_MAX: usize = 2_000;
/// How long a shutdown waits for the last spans to be exported. Those that are not are dropped.
pub const TRACE_FLUSH_MAX: Duration = Duration::from_secs(3);
// `earmark doctor`.

/// How long one check of `earmark doctor` may take; after that it is reported as one that failed, and the next one begins.
pub const DOCTOR_CHECK_MAX: Duration = Duration::from_secs(5);
/// How long a statement of such a check may take before Postgres ends it, so that the connection can be used for the next.
pub const DOCTOR_STATEMENT_MAX: Duration = Duration::from_secs(4);
/// How long such a statement may wait for a lock before Postgres ends it.
pub const DOCTOR_LOCK_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long all checks may take together; those that have not begun by then are reported as not looked at.
pub const DOCTOR_MAX: Duration = Duration::from_secs(60);
/// Overdue reservations of a kind that `earmark doctor` counts; of more it says that there are at least so many.
pub const DOCTOR_OVERDUE_MAX: i64 = 10_000;
