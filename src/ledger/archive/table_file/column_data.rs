//! The cells of one column in one group of rows.

use parquet::column::reader::ColumnReader;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use uuid::Uuid;

use crate::ledger::archive::table_shape::{ColumnKind, TableColumn, TableShape};

/// What a row has in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger::archive) enum Cell<'a> {
    /// Nothing, where the column may have nothing; also what is not of the column's kind.
    Absent,
    Id(Uuid),
    Number(i64),
    /// The number of microseconds since 1970.
    Time(i64),
    /// A text or an amount.
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// Values without those that are absent, as Parquet has them.
enum Values {
    Ids(Vec<FixedLenByteArray>),
    Numbers(Vec<i64>),
    Texts(Vec<ByteArray>),
}

/// The cells of a column.
pub(super) struct ColumnData {
    column: TableColumn,
    values: Values,
    /// Of each row 1 if it has a value, and else 0. Empty if all have one.
    levels: Vec<i16>,
    /// Of each row the number of values before it. Empty if all have one, and while rows are gathered to be written.
    positions: Vec<usize>,
}

impl ColumnData {
    /// The columns of a shape, without rows.
    pub(super) fn all(shape: &TableShape) -> Vec<Self> {
        shape
            .columns
            .iter()
            .map(|column| Self::empty(*column))
            .collect()
    }

    fn empty(column: TableColumn) -> Self {
        Self {
            column,
            values: match column.kind {
                ColumnKind::Id => Values::Ids(Vec::new()),
                ColumnKind::Number | ColumnKind::Time => Values::Numbers(Vec::new()),
                ColumnKind::Text | ColumnKind::Amount | ColumnKind::Bytes => {
                    Values::Texts(Vec::new())
                }
            },
            levels: Vec::new(),
            positions: Vec::new(),
        }
    }

    /// Adds a row. Returns about how many bytes of memory it takes.
    pub(super) fn push(&mut self, cell: Cell<'_>) -> usize {
        const OVERHEAD: usize = 48;
        if self.column.is_optional {
            self.levels.push(i16::from(cell != Cell::Absent));
        }
        match (&mut self.values, cell) {
            (Values::Ids(values), Cell::Id(id)) => {
                values.push(FixedLenByteArray::from(id.as_bytes().to_vec()));
                OVERHEAD + id.as_bytes().len()
            }
            (Values::Numbers(values), Cell::Number(number) | Cell::Time(number)) => {
                values.push(number);
                size_of::<i64>()
            }
            (Values::Texts(values), Cell::Text(text)) => {
                values.push(ByteArray::from(text));
                OVERHEAD + text.len()
            }
            (Values::Texts(values), Cell::Bytes(bytes)) => {
                values.push(ByteArray::from(bytes.to_vec()));
                OVERHEAD + bytes.len()
            }
            _ => 0,
        }
    }

    /// Writes all rows. Fails if a cell was of another kind than the column, or absent where it must not be.
    pub(super) fn write(&self, writer: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.column.is_optional.then_some(&self.levels[..]);
        let written = match (&self.values, writer) {
            (Values::Ids(values), ColumnWriter::FixedLenByteArrayColumnWriter(writer)) => {
                writer.write_batch(values, levels, None)?
            }
            (Values::Numbers(values), ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(values, levels, None)?
            }
            (Values::Texts(values), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                writer.write_batch(values, levels, None)?
            }
            _ => return Err(self.of_another_kind()),
        };
        let held = self.levels.iter().filter(|level| **level > 0).count();
        if self.column.is_optional && written != held {
            return Err(self.of_another_kind());
        }
        Ok(())
    }

    /// Reads all rows of a group.
    pub(super) fn read(
        column: TableColumn,
        reader: ColumnReader,
        rows: usize,
    ) -> Result<Self, ParquetError> {
        let mut data = Self::empty(column);
        let levels = column.is_optional.then_some(&mut data.levels);
        let (records, ..) = match (&mut data.values, reader) {
            (Values::Ids(values), ColumnReader::FixedLenByteArrayColumnReader(mut reader)) => {
                reader.read_records(rows, levels, None, values)?
            }
            (Values::Numbers(values), ColumnReader::Int64ColumnReader(mut reader)) => {
                reader.read_records(rows, levels, None, values)?
            }
            (Values::Texts(values), ColumnReader::ByteArrayColumnReader(mut reader)) => {
                reader.read_records(rows, levels, None, values)?
            }
            _ => return Err(data.of_another_kind()),
        };
        if records != rows {
            let text = format!("{} has {records} of {rows} rows", column.name);
            return Err(ParquetError::General(text));
        }
        data.positions = data
            .levels
            .iter()
            .scan(0, |before, level| {
                let position = *before;
                *before += usize::from(*level > 0);
                Some(position)
            })
            .collect();
        Ok(data)
    }

    /// What a row has, of rows that were read.
    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        let position = match (self.levels.get(row), self.positions.get(row)) {
            (Some(0), _) => return Cell::Absent,
            (Some(_), Some(position)) => *position,
            _ => row,
        };
        let found = match &self.values {
            Values::Ids(values) => values
                .get(position)
                .and_then(|id| Uuid::from_slice(id.data()).ok())
                .map(Cell::Id),
            Values::Numbers(values) => values.get(position).map(|number| match self.column.kind {
                ColumnKind::Time => Cell::Time(*number),
                _ => Cell::Number(*number),
            }),
            Values::Texts(values) => values
                .get(position)
                .and_then(|text| match self.column.kind {
                    ColumnKind::Bytes => Some(Cell::Bytes(text.data())),
                    _ => text.as_utf8().ok().map(Cell::Text),
                }),
        };
        found.unwrap_or(Cell::Absent)
    }

    fn of_another_kind(&self) -> ParquetError {
        ParquetError::General(format!("{} has values of another kind", self.column.name))
    }
}
