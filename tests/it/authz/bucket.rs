//! BucketService.

use earmark::proto::bucket::v1::{
    ActionAmount, BucketStatus, CloseBucketRequest, DeductBalanceRequest,
    GetAccumulatedBalanceRequest, GetBalanceActionRequest, GetBucketRequest,
    ListBalanceActionsRequest, ListBucketsRequest, ReserveBalanceRequest, TimePeriod,
    TopupBalanceRequest, UpdateBucketRequest,
};
use prost::Message;
use prost_types::Timestamp;
use uuid::Uuid;

use super::{REPLAYED, SERVED, Step, TAKEN, Table, add, step};
use crate::support::bucket_fixture::{
    BucketFixture, adjust, amount, close, creation, deduct, eur, reserve, topup, transfer,
    unreserve,
};
use crate::support::earmark::{Earmark, NOBODY};

const GREATEST: &str = "9999999999999999";

/// A tenant in whose buckets every check can fail.
struct World<'w> {
    earmark: &'w Earmark,
    tenant: Uuid,
    /// A reserve of 1 EUR, open, and one that was given back.
    open: String,
    given_back: String,
}

/// `bucket` has 98 EUR left, `suspended` 100, `closed` nothing. Every kind of action has used the key on `bucket`.
async fn world(earmark: &Earmark) -> World<'_> {
    let tenant = Uuid::new_v4();
    let mut client = BucketFixture::client(earmark, tenant);
    for (id, amount) in [
        ("bucket", "100"),
        ("suspended", "100"),
        ("closed", "0"),
        ("other", "0"),
        ("given up", "0"),
        ("to give up", "1"),
    ] {
        client
            .create_bucket(creation(eur(id, amount)))
            .await
            .expect("created");
    }
    let mut held = Vec::new();
    for key in ["open", "given back", TAKEN] {
        let answer = client.reserve_balance(reserve("bucket", "1", key)).await;
        let action = answer.expect("reserved").into_inner().balance_action;
        held.push(action.expect("set").id);
    }
    let world = World {
        earmark,
        tenant,
        open: held[0].clone(),
        given_back: held[1].clone(),
    };
    let done = "done";
    client
        .topup_balance(topup("bucket", "1", TAKEN))
        .await
        .expect(done);
    client
        .adjust_balance(adjust("bucket", "-1", TAKEN))
        .await
        .expect(done);
    client
        .deduct_balance(deduct("bucket", "1", TAKEN))
        .await
        .expect(done);
    client
        .transfer_balance(transfer("bucket", "other", "1", TAKEN))
        .await
        .expect(done);
    let given = unreserve("bucket", &world.given_back, TAKEN);
    client.unreserve_balance(given).await.expect(done);
    client
        .close_bucket(close("given up", false, TAKEN))
        .await
        .expect(done);
    let named = update("bucket", TAKEN);
    client.update_bucket(named).await.expect(done);
    for (id, status) in [
        ("suspended", BucketStatus::Suspended),
        ("closed", BucketStatus::Closed),
    ] {
        let request = UpdateBucketRequest {
            status: status.into(),
            ..update(id, "")
        };
        client.update_bucket(request).await.expect(done);
    }
    world
}

fn update(bucket: &str, key: &str) -> UpdateBucketRequest {
    UpdateBucketRequest {
        bucket_id: bucket.into(),
        request_id: key.into(),
        ..Default::default()
    }
}

impl World<'_> {
    fn token(&self, tenant: Uuid) -> String {
        self.earmark
            .tenant_token("buckets-read buckets-write", tenant)
    }

    /// May do everything, and is nobody's.
    fn nobody(&self) -> String {
        self.earmark.token("buckets-read buckets-write", &[])
    }

    fn step(&self, expected: &'static str, message: &impl Message) -> Step {
        step(expected, self.token(self.tenant), message)
    }

    /// What every call begins with: wrong arguments, then a token that names no tenant.
    fn first<M: Message>(&self, invalid: &M, valid: &M) -> Vec<Step> {
        vec![
            step("INVALID_REQUEST", self.nobody(), invalid),
            step("CLAIM_MISSING", self.nobody(), valid),
        ]
    }

    /// The same, then a stranger, for whom there is no such bucket whatever its key.
    fn first_of_a_bucket<M: Message>(&self, invalid: &M, replayed: &M) -> Vec<Step> {
        let mut steps = self.first(invalid, replayed);
        let stranger = self.token(Uuid::new_v4());
        steps.push(step("BUCKET_NOT_FOUND", stranger, replayed));
        steps
    }
}

pub(super) async fn add_to(table: &mut Table, earmark: &Earmark) {
    let world = &world(earmark).await;
    for (method, steps) in [
        ("ListBuckets", list_buckets(world)),
        ("GetBucket", get_bucket(world)),
        ("CreateBucket", create_bucket(world)),
        ("UpdateBucket", update_bucket(world)),
        ("CloseBucket", close_bucket(world)),
        ("TopupBalance", topup_balance(world)),
        ("AdjustBalance", adjust_balance(world)),
        ("TransferBalance", transfer_balance(world)),
        ("ReserveBalance", reserve_balance(world)),
        ("UnreserveBalance", unreserve_balance(world)),
        ("DeductBalance", deduct_balance(world)),
        ("GetAccumulatedBalance", get_accumulated_balance(world)),
        ("ListBalanceActions", list_balance_actions(world)),
        ("GetBalanceAction", get_balance_action(world)),
    ] {
        add(
            table,
            &format!("/earmark.bucket.v1.BucketService/{method}"),
            steps,
        );
    }
}

fn list_buckets(world: &World) -> Vec<Step> {
    let foreign_token = ListBucketsRequest {
        page_token: "x".into(),
        ..Default::default()
    };
    let invalid = ListBucketsRequest {
        fields: "x".into(),
        ..foreign_token.clone()
    };
    let mut steps = world.first(&invalid, &ListBucketsRequest::default());
    steps.extend([
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
        world.step(SERVED, &ListBucketsRequest::default()),
    ]);
    steps
}

fn get_bucket(world: &World) -> Vec<Step> {
    let get = GetBucketRequest {
        id: "bucket".into(),
        ..Default::default()
    };
    let mut steps = world.first_of_a_bucket(&GetBucketRequest::default(), &get);
    steps.push(world.step(SERVED, &get));
    steps
}

fn create_bucket(world: &World) -> Vec<Step> {
    let create = |id: &str, amount: &str| creation(eur(id, amount));
    let mut steps = world.first(&create("bucket", "-1"), &create("bucket", "1"));
    steps.extend([
        world.step("BUCKET_EXISTS", &create("bucket", "1")),
        world.step(REPLAYED, &create("bucket", "100")),
        world.step(SERVED, &create("new", "1")),
    ]);
    steps
}

fn update_bucket(world: &World) -> Vec<Step> {
    // Wrong in all that the database knows.
    let of = |id: &str, key: &str| UpdateBucketRequest {
        status: BucketStatus::Closed.into(),
        expected_version: Some(1_000),
        ..update(id, key)
    };
    let invalid = UpdateBucketRequest {
        valid_for: Some(TimePeriod {
            start_date_time: Some(Timestamp::default()),
            end_date_time: Some(Timestamp {
                seconds: -1,
                nanos: 0,
            }),
        }),
        ..of("x", TAKEN)
    };
    let as_it_is = |id: &str| UpdateBucketRequest {
        expected_version: None,
        ..of(id, "new")
    };
    let mut steps = world.first_of_a_bucket(&invalid, &of("bucket", TAKEN));
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &of("bucket", TAKEN)),
        world.step(REPLAYED, &update("bucket", TAKEN)),
        world.step("VERSION_MISMATCH", &of("closed", "new")),
        world.step("ALREADY_TERMINAL", &as_it_is("closed")),
        world.step("BUCKET_NOT_USABLE", &as_it_is("bucket")),
        world.step(SERVED, &update("bucket", "new")),
    ]);
    steps
}

fn close_bucket(world: &World) -> Vec<Step> {
    // Wrong in all that the database knows.
    let of = |id: &str, write_off: bool, key: &str| CloseBucketRequest {
        expected_version: Some(1_000),
        ..close(id, write_off, key)
    };
    let mut steps = world.first_of_a_bucket(&of("x", true, ""), &of("given up", false, TAKEN));
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &of("given up", true, TAKEN)),
        world.step(REPLAYED, &of("given up", false, TAKEN)),
        world.step("VERSION_MISMATCH", &of("closed", true, "new")),
        world.step("ALREADY_TERMINAL", &close("closed", true, "new")),
        world.step("BUCKET_NOT_USABLE", &close("bucket", true, "new")),
        world.step("BUCKET_NOT_USABLE", &close("suspended", false, "new")),
        world.step(SERVED, &close("to give up", true, "new")),
    ]);
    steps
}

fn topup_balance(world: &World) -> Vec<Step> {
    let usd = |id: &str, key: &str| TopupBalanceRequest {
        amount: amount(GREATEST, "USD"),
        ..topup(id, "1", key)
    };
    let mut steps =
        world.first_of_a_bucket(&topup("bucket", "0", TAKEN), &topup("bucket", "1", TAKEN));
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &usd("bucket", TAKEN)),
        world.step(REPLAYED, &topup("bucket", "1", TAKEN)),
        world.step("INVALID_REQUEST", &usd("suspended", "new")),
        world.step("BUCKET_NOT_USABLE", &topup("suspended", GREATEST, "new")),
        world.step("BALANCE_LIMIT", &topup("bucket", GREATEST, "new")),
        world.step(SERVED, &topup("bucket", "1", "new")),
    ]);
    steps
}

fn adjust_balance(world: &World) -> Vec<Step> {
    let mut usd = adjust("suspended", "1", "new");
    usd.amount = amount("-1000", "USD");
    let mut steps = world.first_of_a_bucket(
        &adjust("bucket", "0", TAKEN),
        &adjust("bucket", "-1", TAKEN),
    );
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &adjust("bucket", "-1000", TAKEN)),
        world.step(REPLAYED, &adjust("bucket", "-1", TAKEN)),
        world.step("INVALID_REQUEST", &usd),
        world.step("BUCKET_NOT_USABLE", &adjust("suspended", GREATEST, "new")),
        world.step("BUCKET_NOT_USABLE", &adjust("closed", "-1000", "new")),
        world.step("INSUFFICIENT_BALANCE", &adjust("bucket", "-1000", "new")),
        world.step("BALANCE_LIMIT", &adjust("bucket", GREATEST, "new")),
        world.step(SERVED, &adjust("bucket", "-1", "new")),
    ]);
    steps
}

fn transfer_balance(world: &World) -> Vec<Step> {
    let of = |from: &str, to: &str, key: &str| transfer(from, to, "1000", key);
    let mut usd = of("suspended", "other", "new");
    usd.amount = amount("1000", "USD");
    let mut steps = world.first_of_a_bucket(
        &of("bucket", "bucket", TAKEN),
        &transfer("bucket", "other", "1", TAKEN),
    );
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &of("bucket", "nowhere", TAKEN)),
        world.step(REPLAYED, &transfer("bucket", "other", "1", TAKEN)),
        world.step("BUCKET_NOT_FOUND", &of("suspended", "nowhere", "new")),
        world.step("INVALID_REQUEST", &usd),
        world.step("BUCKET_NOT_USABLE", &of("suspended", "other", "new")),
        world.step("BUCKET_NOT_USABLE", &of("bucket", "closed", "new")),
        world.step("INSUFFICIENT_BALANCE", &of("bucket", "other", "new")),
        world.step(SERVED, &transfer("bucket", "other", "1", "new")),
    ]);
    steps
}

fn reserve_balance(world: &World) -> Vec<Step> {
    let past = |id: &str, key: &str| ReserveBalanceRequest {
        expire_time: Some(Timestamp::default()),
        ..reserve(id, "1000", key)
    };
    let mut steps = world.first_of_a_bucket(
        &reserve("bucket", "-1", TAKEN),
        &reserve("bucket", "1", TAKEN),
    );
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &past("bucket", TAKEN)),
        world.step(REPLAYED, &reserve("bucket", "1", TAKEN)),
        world.step("INVALID_REQUEST", &past("suspended", "new")),
        world.step("BUCKET_NOT_USABLE", &reserve("suspended", "1000", "new")),
        world.step("INSUFFICIENT_BALANCE", &reserve("bucket", "1000", "new")),
        world.step(SERVED, &reserve("bucket", "1", "new")),
    ]);
    steps
}

fn unreserve_balance(world: &World) -> Vec<Step> {
    let taken = unreserve("bucket", &world.given_back, TAKEN);
    let mut steps = world.first_of_a_bucket(&unreserve("bucket", "x", TAKEN), &taken);
    steps.extend([
        world.step(
            "IDEMPOTENCY_KEY_REUSED",
            &unreserve("bucket", NOBODY, TAKEN),
        ),
        world.step(REPLAYED, &taken),
        world.step("ACTION_NOT_FOUND", &unreserve("bucket", NOBODY, "new")),
        world.step(
            "ACTION_NOT_FOUND",
            &unreserve("suspended", &world.open, "new"),
        ),
        world.step(
            "ALREADY_TERMINAL",
            &unreserve("bucket", &world.given_back, "new"),
        ),
    ]);
    steps
}

fn deduct_balance(world: &World) -> Vec<Step> {
    let usd = || -> Option<ActionAmount> { amount("1000", "USD") };
    let from = |reserve: &str, of: &str, key: &str| DeductBalanceRequest {
        reserve_id: Some(reserve.into()),
        ..deduct("bucket", of, key)
    };
    let no_reserve = DeductBalanceRequest {
        amount: usd(),
        ..from(NOBODY, "1", "new")
    };
    let no_unit = DeductBalanceRequest {
        amount: usd(),
        ..from(&world.given_back, "1", "new")
    };
    let mut steps =
        world.first_of_a_bucket(&deduct("bucket", "", TAKEN), &deduct("bucket", "1", TAKEN));
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &from(NOBODY, "1", TAKEN)),
        world.step(REPLAYED, &deduct("bucket", "1", TAKEN)),
        world.step("ACTION_NOT_FOUND", &no_reserve),
        world.step("INVALID_REQUEST", &no_unit),
        world.step("ALREADY_TERMINAL", &from(&world.given_back, "1000", "new")),
        world.step("BUCKET_NOT_USABLE", &deduct("suspended", "1000", "new")),
        world.step("INSUFFICIENT_BALANCE", &deduct("bucket", "1000", "new")),
        world.step("INSUFFICIENT_BALANCE", &from(&world.open, "1.1", "new")),
        world.step(SERVED, &from(&world.open, "1", "new")),
    ]);
    steps
}

fn get_accumulated_balance(world: &World) -> Vec<Step> {
    let of = |party: &str| GetAccumulatedBalanceRequest {
        party_account_id: party.into(),
        ..Default::default()
    };
    let foreign_token = GetAccumulatedBalanceRequest {
        page_token: "x".into(),
        ..of("x")
    };
    let mut steps = world.first(&of(""), &of("x"));
    steps.extend([
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
        world.step(SERVED, &of("x")),
    ]);
    steps
}

fn list_balance_actions(world: &World) -> Vec<Step> {
    let foreign_token = ListBalanceActionsRequest {
        page_token: "x".into(),
        ..Default::default()
    };
    let invalid = ListBalanceActionsRequest {
        types: vec![-1],
        ..foreign_token.clone()
    };
    let mut steps = world.first(&invalid, &ListBalanceActionsRequest::default());
    steps.extend([
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
        world.step(SERVED, &ListBalanceActionsRequest::default()),
    ]);
    steps
}

fn get_balance_action(world: &World) -> Vec<Step> {
    let get = |id: &str| GetBalanceActionRequest { id: id.into() };
    let mut steps = world.first(&get("x"), &get(&world.open));
    let stranger = world.token(Uuid::new_v4());
    steps.extend([
        step("ACTION_NOT_FOUND", stranger, &get(&world.open)),
        world.step(SERVED, &get(&world.open)),
    ]);
    steps
}
