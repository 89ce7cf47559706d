//! Tables in Parquet files, written and read by groups of rows, so that neither takes memory for more than one group.

mod column_data;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, GzipLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};
use thiserror::Error;
use uuid::Uuid;

pub(super) use crate::ledger::archive::table_file::column_data::Cell;
use crate::ledger::archive::table_file::column_data::ColumnData;
use crate::ledger::archive::table_shape::{ColumnKind, TableShape};
use crate::limits::{ARCHIVE_GROUP_BYTES_MAX, ARCHIVE_GROUP_ROWS_MAX, ARCHIVE_READ_ROWS_MAX};
use crate::types::time::Time;

/// Why a file could not be written or read.
#[derive(Debug, Error)]
#[error("{}: {reason}", .path.display())]
pub struct TableFileError {
    /// The file, or the folder that was to hold it.
    pub path: PathBuf,
    /// What the operating system or the library says.
    pub reason: String,
}

impl TableFileError {
    pub(super) fn new(path: &Path, reason: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// A schema that is made of a shape, and always can be.
fn schema(shape: &TableShape) -> Result<TypePtr, ParquetError> {
    parse_message_type(&shape.message()).map(Arc::new)
}

/// Writes a table, row by row.
pub(super) struct TableWriter {
    path: PathBuf,
    shape: &'static TableShape,
    writer: SerializedFileWriter<File>,
    group: Vec<ColumnData>,
    group_rows: usize,
    group_bytes: usize,
    rows: i64,
}

impl TableWriter {
    pub(super) fn create(path: &Path, shape: &'static TableShape) -> Result<Self, TableFileError> {
        let failed = |error: &dyn ToString| TableFileError::new(path, error.to_string());
        let file = File::create_new(path).map_err(|error| failed(&error))?;
        let writer = schema(shape)
            .and_then(|schema| SerializedFileWriter::new(file, schema, properties(shape)?.into()));
        Ok(Self {
            path: path.to_owned(),
            shape,
            writer: writer.map_err(|error| failed(&error))?,
            group: ColumnData::all(shape),
            group_rows: 0,
            group_bytes: 0,
            rows: 0,
        })
    }

    /// Adds a row, which must have a cell for each column.
    pub(super) fn push(&mut self, cells: &[Cell<'_>]) -> Result<(), TableFileError> {
        for (column, cell) in self.group.iter_mut().zip(cells) {
            self.group_bytes += column.push(*cell);
        }
        self.rows += 1;
        self.group_rows += 1;
        if self.group_rows >= ARCHIVE_GROUP_ROWS_MAX || self.group_bytes >= ARCHIVE_GROUP_BYTES_MAX
        {
            self.write_group()?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), TableFileError> {
        let columns = std::mem::replace(&mut self.group, ColumnData::all(self.shape));
        (self.group_rows, self.group_bytes) = (0, 0);
        let written = (|| {
            let mut group = self.writer.next_row_group()?;
            for column in &columns {
                if let Some(mut writer) = group.next_column()? {
                    column.write(writer.untyped())?;
                    writer.close()?;
                }
            }
            group.close()
        })();
        let written = written.map_err(|error| TableFileError::new(&self.path, error));
        written.map(drop)
    }

    /// Ends the file, and waits until it is on disk. Returns the number of its rows.
    pub(super) fn finish(mut self) -> Result<i64, TableFileError> {
        if self.group_rows > 0 {
            self.write_group()?;
        }
        let path = &self.path;
        let ended = self.writer.finish();
        ended.map_err(|error| TableFileError::new(path, error))?;
        let synced = self.writer.inner().sync_all();
        synced.map_err(|error| TableFileError::new(path, error))?;
        Ok(self.rows)
    }
}

/// Numbers and times differ little from row to row; everything else repeats, or is random.
fn properties(shape: &TableShape) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::GZIP(GzipLevel::try_new(6)?))
        .set_created_by("earmark".into());
    for column in shape.columns {
        if matches!(column.kind, ColumnKind::Number | ColumnKind::Time) {
            let path = ColumnPath::from(column.name);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties.build())
}

/// Reads a table, row by row.
pub(super) struct TableReader {
    path: PathBuf,
    shape: &'static TableShape,
    reader: SerializedFileReader<File>,
    next_group: usize,
    group: Vec<ColumnData>,
    group_rows: usize,
    next_row: usize,
}

impl TableReader {
    /// Opens a file, which must have the columns of the shape.
    pub(super) fn open(path: &Path, shape: &'static TableShape) -> Result<Self, TableFileError> {
        let failed = |error: &dyn ToString| TableFileError::new(path, error.to_string());
        let file = File::open(path).map_err(|error| failed(&error))?;
        let reader = SerializedFileReader::new(file).map_err(|error| failed(&error))?;
        let expected = schema(shape).map_err(|error| failed(&error))?;
        let found = reader.metadata().file_metadata().schema();
        let columns = |schema: &parquet::schema::types::Type| {
            let of_field = |field: &TypePtr| {
                (
                    field.name().to_owned(),
                    field.get_basic_info().repetition(),
                    field.is_primitive().then(|| field.get_physical_type()),
                )
            };
            schema.get_fields().iter().map(of_field).collect::<Vec<_>>()
        };
        if columns(found) != columns(&expected) {
            return Err(failed(&"it has other columns than a file of this kind"));
        }
        Ok(Self {
            path: path.to_owned(),
            shape,
            reader,
            next_group: 0,
            group: Vec::new(),
            group_rows: 0,
            next_row: 0,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next row, as often as it is asked for; none after the last.
    pub(super) fn peek(&mut self) -> Result<Option<TableRow<'_>>, TableFileError> {
        while self.next_row >= self.group_rows {
            if self.next_group >= self.reader.metadata().num_row_groups() {
                return Ok(None);
            }
            let read = self.read_group();
            read.map_err(|error| TableFileError::new(&self.path, error))?;
        }
        Ok(Some(TableRow {
            reader: self,
            row: self.next_row,
        }))
    }

    /// Goes on to the row behind the one that was looked at.
    pub(super) fn advance(&mut self) {
        self.next_row += 1;
    }

    fn read_group(&mut self) -> Result<(), ParquetError> {
        // What was read before is given back first.
        self.group.clear();
        let group = self.reader.get_row_group(self.next_group)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX);
        if rows > ARCHIVE_READ_ROWS_MAX {
            let text = format!("a group of {rows} rows, of more than {ARCHIVE_READ_ROWS_MAX}");
            return Err(ParquetError::General(text));
        }
        for (index, column) in self.shape.columns.iter().enumerate() {
            let reader = group.get_column_reader(index)?;
            self.group.push(ColumnData::read(*column, reader, rows)?);
        }
        self.next_group += 1;
        (self.group_rows, self.next_row) = (rows, 0);
        Ok(())
    }
}

/// A row of a table.
#[derive(Clone, Copy)]
pub(super) struct TableRow<'a> {
    reader: &'a TableReader,
    row: usize,
}

impl<'a> TableRow<'a> {
    pub(super) fn cell(self, column: usize) -> Cell<'a> {
        let column = self.reader.group.get(column);
        column.map_or(Cell::Absent, |column| column.cell(self.row))
    }

    pub(super) fn id(self, column: usize) -> Result<Uuid, TableFileError> {
        match self.cell(column) {
            Cell::Id(id) => Ok(id),
            _ => Err(self.unreadable(column)),
        }
    }

    pub(super) fn number(self, column: usize) -> Result<i64, TableFileError> {
        match self.cell(column) {
            Cell::Number(number) => Ok(number),
            _ => Err(self.unreadable(column)),
        }
    }

    pub(super) fn time(self, column: usize) -> Result<Time, TableFileError> {
        match self.cell(column) {
            Cell::Time(micros) => Time::from_micros(micros).ok_or_else(|| self.unreadable(column)),
            _ => Err(self.unreadable(column)),
        }
    }

    pub(super) fn text(self, column: usize) -> Result<&'a str, TableFileError> {
        match self.cell(column) {
            Cell::Text(text) => Ok(text),
            _ => Err(self.unreadable(column)),
        }
    }

    pub(super) fn bytes(self, column: usize) -> Result<&'a [u8], TableFileError> {
        match self.cell(column) {
            Cell::Bytes(bytes) => Ok(bytes),
            _ => Err(self.unreadable(column)),
        }
    }

    /// That a column of this row does not hold what it should.
    pub(super) fn unreadable(self, column: usize) -> TableFileError {
        let name = self
            .reader
            .shape
            .columns
            .get(column)
            .map_or("?", |it| it.name);
        let text = format!(
            "row {} of group {} has an unreadable {name}",
            self.row + 1,
            self.reader.next_group
        );
        TableFileError::new(&self.reader.path, text)
    }
}
