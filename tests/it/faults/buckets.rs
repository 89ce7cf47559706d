//! Faults around writes of buckets, which have no journal entry or an owner that does not exist yet.

use std::time::{Duration, Instant};

use earmark::app::AppSettings;
use earmark::ledger::engine::WriterSettings;
use earmark::proto::bucket::v1::UpdateBucketRequest;
use earmark::types::ids::{OwnerId, TenantId};
use futures_util::future::join_all;

use super::World;
use super::commits::{LOST, with_short_sessions};
use crate::support::bucket_fixture::{BucketFixture, creation, eur, left, topup, transfer, values};
use crate::support::earmark::{Earmark, Setup, impatient};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::{session, somebody_waits};
use crate::support::service::is_replayed;

const LOCK_WAIT: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_around_commit_repeats_no_bucket_creation_and_no_update() {
    join_all(LOST.map(async |fault| {
        let World {
            earmark,
            proxy,
            db: _db,
        } = World::make(with_short_sessions(Setup::default())).await;
        let fixture = BucketFixture::on(earmark);
        let mut client = fixture.client.clone();
        fixture.bucket("giver", "10").await;
        // Only the bucket's row shows that it was created; its owner's row did not exist to be locked.
        for amount in ["0", "5"] {
            let id = format!("new {amount}");
            proxy.arm(fault);
            let made = client.create_bucket(creation(eur(&id, amount))).await;
            proxy.struck().await;
            let made = made.unwrap_or_else(|status| panic!("{fault:?}: {status:?}"));
            assert!(!is_replayed(&made), "{fault:?}: it was this call's doing");
            let bucket = made.into_inner().bucket.expect("set");
            assert_eq!(values(&bucket), left(amount, "0"), "{fault:?}");
        }

        // Without a key, a second try would be a second update.
        let before = fixture.get("new 5").await.version;
        proxy.arm(fault);
        let request = UpdateBucketRequest {
            bucket_id: "new 5".into(),
            name: Some("another".into()),
            ..Default::default()
        };
        let updated = client.update_bucket(request).await;
        proxy.struck().await;
        let updated = updated.unwrap_or_else(|status| panic!("{fault:?}: {status:?}"));
        let updated = updated.into_inner().bucket.expect("set");
        assert_eq!(updated.version, before + 1, "{fault:?}");
        assert_eq!(fixture.get("new 5").await, updated, "{fault:?}");

        proxy.arm(fault);
        let request = transfer("giver", "new 5", "4", "gift");
        let given = client.transfer_balance(request).await;
        proxy.struck().await;
        let given = given.unwrap_or_else(|status| panic!("{fault:?}: {status:?}"));
        assert!(!is_replayed(&given), "{fault:?}");
        assert_eq!(fixture.values("giver").await, left("6", "0"), "{fault:?}");
        assert_eq!(fixture.values("new 5").await, left("9", "0"), "{fault:?}");
        assert_sound(&fixture.earmark).await;
    }))
    .await;
}

/// Another session is making the bucket's owner, and does or does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_being_created_elsewhere_is_waited_for_without_delaying_others() {
    join_all(["ROLLBACK", "COMMIT"].map(async |end| {
        let writer = WriterSettings {
            writers: 1,
            ..impatient(LOCK_WAIT)
        };
        let setup = Setup {
            app: AppSettings {
                writer,
                ..AppSettings::default()
            },
            ..Setup::default()
        };
        let fixture = BucketFixture::on(Earmark::start_with(setup).await);
        fixture.bucket("free", "1").await;
        let owner = OwnerId::of_bucket(TenantId(fixture.tenant), "new");
        let holder = session(&fixture.earmark.url).await;
        let sql = format!("BEGIN; INSERT INTO owner VALUES ('{owner}')");
        holder.batch_execute(&sql).await.expect("made");
        // What is only validated makes no owner, and so waits for none.
        let mut request = creation(eur("new", "3"));
        request.validate_only = true;
        let judged = fixture.client.clone().create_bucket(request).await;
        let judged = judged.expect("waits for nobody").into_inner();
        assert_eq!(values(&judged.bucket.expect("set")), left("3", "0"));
        let others = async {
            somebody_waits(&fixture.earmark.url).await;
            let started = Instant::now();
            fixture.topup(topup("free", "1", "key")).await;
            let waited = started.elapsed();
            assert!(waited < 4 * LOCK_WAIT, "{waited:?}");
            holder.batch_execute(end).await.expect(end);
        };
        let (made, ()) = tokio::join!(fixture.bucket("new", "3"), others);
        assert_eq!(values(&made), left("3", "0"), "{end}");
        assert_sound(&fixture.earmark).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_creates_no_owner() {
    let fixture = BucketFixture::open().await;
    let mut request = creation(eur("new", "3"));
    request.validate_only = true;
    fixture
        .client
        .clone()
        .create_bucket(request)
        .await
        .expect("validated");
    let owners = "SELECT count(*) FROM owner";
    assert_eq!(fixture.earmark.count(owners).await, 0);
    fixture.bucket("new", "3").await;
    assert_eq!(fixture.earmark.count(owners).await, 1);
}
