//! Allocations as a table that tests may write.

use tokio_postgres::Client;

use crate::support::writable_view::WritableView;

/// Makes the view `allocation` of this database writable.
pub(crate) async fn make_allocations_writable(sql: &Client) {
    let view = WritableView {
        name: "allocation",
        key: "client_external_id",
        open_status: "RESERVED",
    };
    view.create(sql).await;
}
