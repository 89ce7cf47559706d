//! Two processes of the built binary on one database, and the disturbances that a test causes.

use std::time::{Duration, Instant};

use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::wire::ModelClient;
use crate::support::bucket_fixture::BucketFixture;
use crate::support::cluster::{TestDatabase, database};
use crate::support::earmark::{Authorized, Earmark};

/// What happens to the servers during a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disturbance {
    Nothing,
    /// A COMMIT takes some milliseconds, so an answer before its end is detected.
    SlowCommits,
    /// A process is killed several times during the round and replaced by another one.
    Killing,
}

impl Disturbance {
    /// The name of the test that runs with it.
    pub(super) fn test(self) -> &'static str {
        match self {
            Self::Nothing => "concurrent_histories_are_linearizable",
            Self::SlowCommits => "histories_are_linearizable_with_slow_commits",
            Self::Killing => "histories_are_linearizable_across_process_kills",
        }
    }
}

/// Once for each transaction that writes entries, when it commits.
const SLOW_COMMITS: &str = "
    CREATE OR REPLACE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('model.waited', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
            PERFORM set_config('model.waited', pg_current_xact_id()::text, true), pg_sleep(0.004);
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON entry
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit()";

pub(super) struct Servers {
    one: Earmark,
    /// The process that is killed.
    other: Mutex<Earmark>,
    db: TestDatabase,
}

impl Servers {
    pub(super) async fn start() -> Self {
        let db = database().await;
        let (one, other) = tokio::join!(
            Earmark::start_process_on(&db.url),
            Earmark::start_process_on(&db.url)
        );
        Self {
            one,
            other: Mutex::new(other),
            db,
        }
    }

    /// The process that is not killed.
    pub(super) fn one(&self) -> &Earmark {
        &self.one
    }

    /// Both, as members of these enterprises and as administrators.
    pub(super) async fn model_clients(&self, enterprises: &[&str]) -> Vec<ModelClient> {
        let client = |server: &Earmark| ModelClient {
            member: server.member(enterprises),
            admin: server.admin(),
        };
        let other = self.other.lock().await;
        vec![client(&self.one), client(&other)]
    }

    /// Both, with a tenant's token for BucketService.
    pub(super) async fn bucket_clients(
        &self,
        tenant: Uuid,
    ) -> Vec<BucketServiceClient<Authorized>> {
        let other = self.other.lock().await;
        let servers = [&self.one, &*other];
        servers
            .map(|server| BucketFixture::client(server, tenant))
            .into()
    }

    pub(super) async fn kill_and_restart(&self) {
        self.other.lock().await.kill_and_restart().await;
    }

    pub(super) async fn slow_commits_down(&self) {
        let sql = self.one.sql().await;
        sql.batch_execute(SLOW_COMMITS).await.expect(SLOW_COMMITS);
    }

    pub(super) async fn hurry_commits(&self) {
        let sql = "DROP TRIGGER slow_commit ON entry";
        self.one.sql().await.batch_execute(sql).await.expect(sql);
    }

    /// Waits until nothing is due any more, without a call that would release it.
    pub(super) async fn nothing_is_due_within(&self, limit: Duration) {
        let due = "SELECT count(*) FROM allocation WHERE status = 'RESERVED'
                    AND expire_time < clock_timestamp() + interval '10 seconds'";
        let started = Instant::now();
        while self.one.count(due).await > 0 {
            assert!(started.elapsed() < limit, "due reservations stay open");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All invariants hold, in everything that was ever written here.
    pub(super) async fn verify(&self) -> i64 {
        let client = ModelClient {
            member: self.one.admin(),
            admin: self.one.admin(),
        };
        let (entries, breaches) = client.verify().await;
        assert_eq!(breaches, Vec::<String>::new(), "{}", self.db.url);
        entries
    }
}
