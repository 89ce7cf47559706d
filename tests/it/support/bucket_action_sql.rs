//! Bucket actions as a table that tests may write.

use tokio_postgres::Client;

use crate::support::writable_view::WritableView;

/// Makes the view `bucket_action` of this database writable.
pub(crate) async fn make_bucket_actions_writable(sql: &Client) {
    let view = WritableView {
        name: "bucket_action",
        key: "request_id",
        open_status: "CREATED",
    };
    view.create(sql).await;
}
