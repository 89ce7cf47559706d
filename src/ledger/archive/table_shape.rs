//! What tables in files look like: their columns, in the order of the file.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// A UUID, of 16 bytes.
    Id,
    /// A whole number of 64 bits.
    Number,
    /// A time in microseconds since 1970, UTC.
    Time,
    /// A text in UTF-8.
    Text,
    /// The text of a decimal without an exponent or zeros at its end: Parquet's own decimals have one scale for all rows.
    Amount,
    /// Bytes, such as a digest.
    Bytes,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableColumn {
    /// As in the database.
    pub(super) name: &'static str,
    pub(super) kind: ColumnKind,
    pub(super) is_optional: bool,
}

/// A table of the archive, each period of which has a file of it.
#[derive(Debug)]
pub(super) struct TableShape {
    /// The name of the table in the database.
    pub(super) table: &'static str,
    /// How the names of its files begin.
    pub(super) file_stem: &'static str,
    pub(super) columns: &'static [TableColumn],
    /// What chooses the rows of a period: `$1` is the end of the period, `$2` its start or else `-infinity`.
    pub(super) rows: &'static str,
    /// The columns by which the rows of a file are ordered.
    pub(super) order: &'static str,
}

macro_rules! columns {
    ($($name:literal: $kind:ident $($optional:ident)?,)+) => {
        &[$(TableColumn {
            name: $name,
            kind: ColumnKind::$kind,
            is_optional: columns!(@is_optional $($optional)?),
        }),+]
    };
    (@is_optional) => { false };
    (@is_optional optional) => { true };
}

/// The entries of the journal, owner by owner and by time.
pub(super) const ENTRIES: TableShape = TableShape {
    table: "entry",
    file_stem: "entries",
    columns: columns! {
        "owner_id": Id,
        "account_id": Id,
        "unit": Text,
        "version": Number,
        "available_delta": Amount,
        "held_delta": Amount,
        "available": Amount,
        "held": Amount,
        "reservation_count": Number,
        "cause": Text,
        "cause_id": Id,
        "time": Time,
    },
    rows: "time >= $2 AND time < $1",
    order: "owner_id, time, account_id, unit, version",
};

/// The allocations that were closed in the period.
pub(super) const ALLOCATIONS: TableShape = TableShape {
    table: "closed_allocation",
    file_stem: "allocations",
    columns: columns! {
        "owner_id": Id,
        "id": Id,
        "connection_id": Id,
        "client_id": Id,
        "partner_id": Id,
        "created_at": Time,
        "updated_at": Time,
        "expire_time": Time optional,
        "opened_custody_version": Number,
        "opened_connection_version": Number,
        "closed_custody_version": Number optional,
        "closed_connection_version": Number optional,
        "quantity": Amount,
        "type": Text,
        "status": Text,
        "currency": Text,
        "client_external_id": Text,
        "partner_external_id": Text optional,
        "initiated_by": Text,
        "notes": Text optional,
        "reason": Text optional,
        "closed_cause": Text optional,
        "content_hash": Bytes,
    },
    rows: "updated_at >= $2 AND updated_at < $1",
    order: "owner_id, id",
};

/// The accounts' balances at the end of the period, with the digests of their entries in it.
pub(super) const CARRY_FORWARDS: TableShape = TableShape {
    table: "carry_forward",
    file_stem: "carry-forwards",
    columns: columns! {
        "owner_id": Id,
        "account_id": Id,
        "unit": Text,
        "version": Number,
        "time": Time,
        "reservation_count": Number,
        "entries": Number,
        "available": Amount,
        "held": Amount,
        "digest": Bytes,
    },
    rows: "end_time > $2 AND end_time <= $1",
    order: "owner_id, account_id, unit",
};

/// The digests of the period's owners.
pub(super) const SEALED_OWNERS: TableShape = TableShape {
    table: "sealed_owner",
    file_stem: "sealed-owners",
    columns: columns! {
        "owner_id": Id,
        "entries": Number,
        "digest": Bytes,
    },
    rows: "end_time > $2 AND end_time <= $1",
    order: "owner_id",
};

/// The tables, in the order in which their files are written.
pub(super) const TABLES: [&TableShape; 4] =
    [&ENTRIES, &ALLOCATIONS, &CARRY_FORWARDS, &SEALED_OWNERS];

impl TableShape {
    /// The statement that reads the rows of a period, with amounts as texts.
    pub(super) fn select(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| match column.kind {
                ColumnKind::Amount => format!("trim_scale({})::text", column.name),
                _ => column.name.to_owned(),
            })
            .collect();
        format!(
            "SELECT {} FROM {} WHERE {} ORDER BY {}",
            columns.join(", "),
            self.table,
            self.rows,
            self.order
        )
    }

    /// The statement that counts them.
    pub(super) fn count(&self) -> String {
        format!("SELECT count(*) FROM {} WHERE {}", self.table, self.rows)
    }

    /// The schema of a file, as Parquet's documentation writes it.
    pub(super) fn message(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let repetition = if column.is_optional {
                    "optional"
                } else {
                    "required"
                };
                let (physical, logical) = match column.kind {
                    ColumnKind::Id => ("fixed_len_byte_array(16)", " (UUID)"),
                    ColumnKind::Number => ("int64", ""),
                    ColumnKind::Time => ("int64", " (TIMESTAMP(MICROS,true))"),
                    ColumnKind::Text | ColumnKind::Amount => ("binary", " (STRING)"),
                    ColumnKind::Bytes => ("binary", ""),
                };
                format!("{repetition} {physical} {}{logical};", column.name)
            })
            .collect();
        format!("message {} {{ {} }}", self.table, columns.join(" "))
    }

    /// The place of a column. The columns are those of this file, so that it is always there.
    pub(super) fn position(&self, name: &str) -> usize {
        let found = self.columns.iter().position(|column| column.name == name);
        found.unwrap_or(self.columns.len())
    }
}
