//! Errors and retries, held against statuses as the server sends them.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use earmark_client::proto::common::v1::ErrorReason;
use earmark_client::{BearerToken, CallError, InvalidToken, RetryPolicy, WriteOutcome, retry};
use tokio::time::Instant;
use tonic::service::Interceptor;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DELAY: Duration = Duration::from_millis(500);

/// A status with an `ErrorInfo` of this domain, reason and metadata, and with a delay if one is given.
fn status(
    code: Code,
    (domain, reason): (&str, &str),
    metadata: &[(&str, &str)],
    delay: Option<Duration>,
) -> Status {
    let metadata: HashMap<String, String> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, domain, metadata);
    if delay.is_some() {
        details.set_retry_info(delay);
    }
    Status::with_error_details(code, "a text", details)
}

/// A write that the server refused for lack of capacity.
fn overloaded(outcome: &str) -> Status {
    let metadata = [("outcome", outcome)];
    status(
        Code::ResourceExhausted,
        ("earmark", "OVERLOADED"),
        &metadata,
        Some(DELAY),
    )
}

/// A read that the server refused for lack of capacity: errors of reads have no outcome.
fn overloaded_read() -> Status {
    let code = Code::ResourceExhausted;
    status(code, ("earmark", "OVERLOADED"), &[], Some(DELAY))
}

#[test]
fn an_error_has_what_the_status_says() {
    let metadata = [
        ("available", "10"),
        ("requested", "25"),
        ("outcome", "not_applied"),
    ];
    let code = Code::FailedPrecondition;
    let error = CallError::from(status(
        code,
        ("earmark", "INSUFFICIENT_BALANCE"),
        &metadata,
        None,
    ));
    assert_eq!(error.code(), code);
    assert_eq!(error.message(), "a text");
    assert_eq!(error.reason(), Some(ErrorReason::InsufficientBalance));
    assert_eq!(error.metadata("available"), Some("10"));
    assert_eq!(error.metadata("limit"), None);
    assert_eq!(error.outcome(), Some(WriteOutcome::NotApplied));
    assert_eq!(error.retry_delay(), None);
    assert_eq!(error.to_string(), "INSUFFICIENT_BALANCE: a text");
}

#[test]
fn invalid_fields_and_the_request_id_are_read() {
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("amount.quantity", "must be positive");
    details.set_request_info("r-1", "");
    let status = Status::with_error_details(Code::InvalidArgument, "two", details);
    let error = CallError::from(status);
    let [violation] = error.field_violations() else {
        panic!("one violation, not {:?}", error.field_violations());
    };
    assert_eq!(violation.field, "amount.quantity");
    assert_eq!(violation.description, "must be positive");
    assert_eq!(error.request_id(), Some("r-1"));
}

#[test]
fn a_reason_that_is_newer_than_the_client_keeps_its_name() {
    let error = CallError::from(status(Code::Aborted, ("earmark", "NEWER"), &[], None));
    assert_eq!(error.reason(), None);
    assert_eq!(error.reason_name(), Some("NEWER"));
}

#[test]
fn what_is_not_the_servers_has_no_reason() {
    let foreign = status(
        Code::Unavailable,
        ("proxy.example", "OVERLOADED"),
        &[("outcome", "not_applied")],
        None,
    );
    let garbled = Status::with_details(Code::Unavailable, "a text", vec![0xff; 3].into());
    for status in [foreign, garbled, Status::unavailable("a text")] {
        let error = CallError::from(status);
        assert_eq!(error.reason_name(), None);
        assert_eq!(error.outcome(), None);
        assert_eq!(error.to_string(), "Unavailable: a text");
    }
}

#[test]
fn only_what_is_safe_is_repeated() {
    let once = RetryPolicy::new();
    let repeatable = RetryPolicy::repeatable();
    let contention = |outcome| {
        let metadata = [("outcome", outcome)];
        status(
            Code::Aborted,
            ("earmark", "CONTENTION"),
            &metadata,
            Some(DELAY),
        )
    };
    let version = [("outcome", "not_applied")];
    let version = status(
        Code::Aborted,
        ("earmark", "VERSION_MISMATCH"),
        &version,
        None,
    );
    let limit = |delay| {
        let metadata = [("limit", "10s")];
        let reason = ("earmark", "DEADLINE");
        status(Code::DeadlineExceeded, reason, &metadata, delay)
    };
    let cases = [
        (limit(None), false, false),
        (limit(Some(DELAY)), false, true),
        (overloaded("not_applied"), true, true),
        (overloaded("unknown"), false, true),
        (overloaded_read(), false, true),
        (contention("not_applied"), true, true),
        (contention("unknown"), false, true),
        (version, false, false),
        (Status::unavailable("no connection"), false, true),
        (Status::aborted("by a proxy"), false, true),
        (Status::deadline_exceeded("late"), false, true),
        (Status::internal("broken"), false, false),
        (Status::failed_precondition("refused"), false, false),
    ];
    for (status, without_key, with_key) in cases {
        let error = CallError::from(status);
        assert_eq!(once.allows(&error), without_key, "{error:?}");
        assert_eq!(repeatable.allows(&error), with_key, "{error:?}");
    }
}

/// Fails so often with this status, then answers with the number of tries.
async fn answer_after(
    policy: &RetryPolicy,
    failures: u32,
    status: Status,
) -> Result<u32, CallError> {
    let tries = Cell::new(0);
    let call = async || {
        tries.set(tries.get() + 1);
        if tries.get() > failures {
            Ok(Response::new(tries.get()))
        } else {
            Err(status.clone())
        }
    };
    Ok(retry(policy, call).await?.into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_call_is_repeated_until_it_is_answered() {
    let started = Instant::now();
    let policy = RetryPolicy::repeatable();
    let tries = answer_after(&policy, 3, Status::unavailable("gone")).await;
    assert_eq!(tries.expect("an answer"), 4);
    // Half to all of 100, 200 and 400 ms.
    let waited = started.elapsed();
    assert!((350..710).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_servers_delay_is_waited_for() {
    let started = Instant::now();
    let tries = answer_after(&RetryPolicy::new(), 2, overloaded("not_applied")).await;
    assert_eq!(tries.expect("an answer"), 3);
    let waited = started.elapsed();
    assert!((1_000..1_160).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded() {
    let policy = RetryPolicy::repeatable();
    let error = answer_after(&policy, 5, Status::unavailable("gone")).await;
    assert_eq!(error.expect_err("the fifth error").message(), "gone");
    let answer = answer_after(&policy, 4, Status::unavailable("gone")).await;
    assert_eq!(answer.expect("an answer to the fifth"), 5);
}

#[tokio::test(start_paused = true)]
async fn no_pause_passes_the_deadline() {
    let mut policy = RetryPolicy::repeatable();
    policy.tries_max = 1_000;
    policy.deadline = Duration::from_secs(2);
    let started = Instant::now();
    let error = answer_after(&policy, 1_000, overloaded("unknown")).await;
    assert_eq!(
        error.expect_err("no answer").code(),
        Code::ResourceExhausted
    );
    assert!(started.elapsed() < policy.deadline);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_never_ends_is_given_up_at_the_deadline() {
    let policy = RetryPolicy::repeatable();
    let started = Instant::now();
    let call = async || std::future::pending::<Result<Response<()>, Status>>().await;
    let error = retry(&policy, call).await.expect_err("no answer");
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(started.elapsed(), policy.deadline);
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_repeated_by_a_task() {
    let call = async || Ok::<_, Status>(Response::new(1));
    let task = tokio::spawn(async move { retry(&RetryPolicy::new(), call).await });
    let answer = task.await.expect("no panic").expect("an answer");
    assert_eq!(answer.into_inner(), 1);
}

#[test]
fn a_token_is_sent_and_not_shown() {
    let mut token = BearerToken::new("a.b.c").expect("a token");
    let request = token.call(Request::new(())).expect("passed on");
    let sent = request.metadata().get("authorization");
    assert_eq!(sent.expect("sent"), "Bearer a.b.c");
    assert_eq!(format!("{token:?}"), "BearerToken(..)");
    assert_eq!(BearerToken::new("a\nb").err(), Some(InvalidToken));
}
