//! Makes the partitions that tables lack, one table after the other.

use std::fmt;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::db::connect::{Connector, Session};
use crate::db::migration_lock;
use crate::db::partitions::change::PartitionChanger;
use crate::db::partitions::error::MaintainError;
use crate::db::partitions::plan::{DefaultRows, PartitionRules, PartitionStep, plan};
use crate::db::partitions::state::PartitionedTable;
use crate::limits::PARTITION_PLANS_MAX;
use crate::types::time::Time;

/// A partition that was made, or is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionChange {
    /// The name of the partitioned table.
    pub table: String,
    /// The name of the partition; `None` if it is still to be made.
    pub partition: Option<String>,
    /// The time of its first keys.
    pub from: Time,
    /// The time that its last keys are before.
    pub to: Time,
    /// Whether the DEFAULT partition has become it, with the rows that were in it.
    pub was_default: bool,
}

impl fmt::Display for PartitionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.partition {
            Some(name) => write!(f, "the partition {name} of {}", self.table)?,
            None => write!(f, "a partition of {}", self.table)?,
        }
        write!(f, " from {} to {}", day(self.from), day(self.to))?;
        if self.was_default {
            f.write_str(", out of the DEFAULT partition and its rows")?;
        }
        Ok(())
    }
}

/// The day of a time at midnight; else the whole time.
fn day(time: Time) -> String {
    let text = time.to_string();
    match text.strip_suffix("T00:00:00.000000Z") {
        Some(day) => day.into(),
        None => text,
    }
}

/// Makes the partitions that the tables of this database lack, and returns them. Servers go on meanwhile, and no statement of
/// theirs waits for longer than an instant. Waits for other processes that do the same, or migrate. May be repeated, and goes
/// on where it was interrupted. The role must own the tables.
///
/// # Errors
/// Any variant of [`MaintainError`].
pub async fn maintain(
    url: &str,
    rules: PartitionRules,
) -> Result<Vec<PartitionChange>, MaintainError> {
    let (client, driver) = connect(url).await?;
    if !migration_lock::take(&client).await? {
        return Err(MaintainError::Locked);
    }
    let mut made = Vec::new();
    for table in PartitionedTable::all(&client).await? {
        made.extend(maintain_table(&client, table, rules).await?);
    }
    drop(client);
    // Once the driver has ended, the connection is closed and the lock is released.
    _ = driver.await;
    Ok(made)
}

/// The partitions that [`maintain`] would make now. Changes nothing.
///
/// # Errors
/// [`MaintainError::Connect`], [`MaintainError::Postgres`] and [`MaintainError::Table`].
pub async fn planned(
    url: &str,
    rules: PartitionRules,
) -> Result<Vec<PartitionChange>, MaintainError> {
    let (client, _driver) = connect(url).await?;
    let mut planned = Vec::new();
    for table in PartitionedTable::all(&client).await? {
        let (_, steps) = look(&client, &table, rules).await?;
        planned.extend(steps.iter().map(|step| PartitionChange {
            table: table.name.clone(),
            partition: None,
            from: step.from,
            to: step.to,
            was_default: step.is_default,
        }));
    }
    Ok(planned)
}

async fn connect(url: &str) -> Result<(Client, JoinHandle<()>), MaintainError> {
    let session = Session {
        // To look at a DEFAULT partition takes as long as it needs. What others could wait for is limited by itself.
        statement_timeout: Duration::ZERO,
        application_name: "earmark-maintain",
        ..Session::default()
    };
    let connector = Connector::with_session(url, &session)?;
    Ok(connector.connect().await?)
}

/// What a table's DEFAULT partition holds, and the partitions that the table lacks.
async fn look(
    client: &Client,
    table: &PartitionedTable,
    rules: PartitionRules,
) -> Result<(DefaultRows, Vec<PartitionStep>), MaintainError> {
    if table.is_endless {
        return Ok((DefaultRows::default(), Vec::new()));
    }
    let failed = |source| MaintainError::Table {
        table: table.name.clone(),
        source,
    };
    let last = table.last.as_ref().map(|last| last.at);
    // Nothing is lacking, so there is no need to read it.
    if last.is_some_and(|last| last >= rules.target(table.now)) {
        return Ok((DefaultRows::default(), Vec::new()));
    }
    let default = table.default_rows(client, rules).await.map_err(failed)?;
    let steps = plan(last, &default, table.now, rules);
    Ok((default, steps))
}

async fn maintain_table(
    client: &Client,
    mut table: PartitionedTable,
    rules: PartitionRules,
) -> Result<Vec<PartitionChange>, MaintainError> {
    let mut made = Vec::new();
    let mut plans = 1;
    loop {
        let failure = match make(client, &table, rules, &mut made).await {
            Ok(()) => return Ok(made),
            Err(failure) => failure,
        };
        // Rows came into the DEFAULT partition since it was looked at.
        if plans == PARTITION_PLANS_MAX || !is_outrun(&failure) {
            return Err(failure);
        }
        plans += 1;
        let tables = PartitionedTable::all(client).await?;
        let again = tables.into_iter().find(|again| again.name == table.name);
        let Some(again) = again else {
            return Ok(made);
        };
        table = again;
    }
}

fn is_outrun(failure: &MaintainError) -> bool {
    matches!(failure, MaintainError::Table { source, .. } if source.code() == Some(&SqlState::CHECK_VIOLATION))
}

/// Makes what a table lacks, and adds it to `made`.
async fn make(
    client: &Client,
    table: &PartitionedTable,
    rules: PartitionRules,
    made: &mut Vec<PartitionChange>,
) -> Result<(), MaintainError> {
    let changer = PartitionChanger { client, table };
    let default = table.default.as_deref();
    if let Some(default) = default.filter(|_| table.has_check) {
        changer.drop_check(default).await?;
    }
    let (rows, steps) = look(client, table, rules).await?;
    let mut model = default.map(str::to_owned);
    let is_turned = steps.first().is_some_and(|step| step.is_default);
    let checked = default.filter(|_| rows.is_large() && !is_turned);
    if let (Some(default), Some(first), Some(last)) = (checked, steps.first(), steps.last()) {
        // The plan has nothing here that is written to before the partitions are there.
        let (from, to) = (table.bound(first.from), table.bound(last.to));
        let key = &table.key;
        let elsewhere = format!("{key} < '{}' OR {key} >= '{}'", from.literal, to.literal);
        changer.check(default, &elsewhere).await?;
    }
    let mut taken = Ok(());
    for step in &steps {
        taken = take(&changer, step, &mut model, made).await;
        if taken.is_err() {
            break;
        }
    }
    if let Some(default) = checked.filter(|_| !steps.is_empty()) {
        changer.drop_check(default).await?;
    }
    taken?;
    match model {
        Some(model) => changer.copy_index_statistics(&model).await,
        None => Ok(()),
    }
}

/// Makes one partition. If the DEFAULT partition becomes it, its new name is what further ones are modelled on.
async fn take(
    changer: &PartitionChanger<'_>,
    step: &PartitionStep,
    model: &mut Option<String>,
    made: &mut Vec<PartitionChange>,
) -> Result<(), MaintainError> {
    let table = changer.table;
    let (from, to) = (table.bound(step.from), table.bound(step.to));
    let partition = match (step.is_default, &table.default) {
        (true, Some(default)) => {
            let name = changer.turn_default(default, &from, &to).await?;
            *model = Some(name.clone());
            name
        }
        _ => changer.create(&from, &to).await?,
    };
    let change = PartitionChange {
        table: table.name.clone(),
        partition: Some(partition),
        from: step.from,
        to: step.to,
        was_default: step.is_default,
    };
    tracing::debug!(
        table = change.table,
        partition = change.partition,
        "made {change}"
    );
    made.push(change);
    Ok(())
}
