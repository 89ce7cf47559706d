//! What is in the files is what the database had, row by row; read by the library alone, without the server's own reader.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use tokio_postgres::Client;

use super::ArchiveFixture;

/// The rows of a file as texts, and the names of its columns.
fn read(path: &Path) -> (Vec<String>, Vec<Vec<Option<String>>>) {
    let file = File::open(path).expect("a file");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let schema = reader.metadata().file_metadata().schema();
    let columns = schema
        .get_fields()
        .iter()
        .map(|field| field.name().to_owned())
        .collect();
    let rows = reader.get_row_iter(None).expect("rows");
    let rows = rows.map(|row| {
        let row = row.expect("a row");
        row.get_column_iter()
            .map(|(_, field)| text(field))
            .collect()
    });
    (columns, rows.collect())
}

fn text(field: &Field) -> Option<String> {
    match field {
        Field::Null => None,
        Field::Str(text) => Some(text.clone()),
        Field::Long(number) | Field::TimestampMicros(number) => Some(number.to_string()),
        Field::Bytes(bytes) => Some(
            bytes
                .data()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        ),
        other => panic!("an unexpected field: {other:?}"),
    }
}

/// The rows of a table as the same texts.
async fn stored(
    sql: &Client,
    table: &str,
    columns: &[String],
    rest: &str,
) -> Vec<Vec<Option<String>>> {
    let types =
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1";
    let types = sql.query(types, &[&table]).await.expect(types);
    let type_of = |column: &str| {
        let row = types.iter().find(|row| row.get::<_, &str>(0) == column);
        row.unwrap_or_else(|| panic!("{table} has no {column}"))
            .get::<_, String>(1)
    };
    let shown: Vec<String> = columns
        .iter()
        .map(|column| match type_of(column).as_str() {
            "uuid" => format!("replace({column}::text, '-', '')"),
            "timestamp with time zone" => {
                format!("(extract(epoch FROM {column}) * 1000000)::int8::text")
            }
            "numeric" => format!("trim_scale({column})::text"),
            "bytea" => format!("encode({column}, 'hex')"),
            "bigint" | "text" => format!("{column}::text"),
            other => panic!("an unexpected type of {column}: {other}"),
        })
        .collect();
    let select = format!("SELECT {} FROM {table} {rest}", shown.join(", "));
    let rows = sql.query(&select, &[]).await.expect(&select);
    let row = |row: &tokio_postgres::Row| (0..columns.len()).map(|index| row.get(index)).collect();
    rows.iter().map(row).collect()
}

#[tokio::test]
async fn the_files_have_what_the_database_had() {
    let it = ArchiveFixture::open().await;
    // A text that is long, one that is empty, and one that no other encoding has.
    let texts = "
        UPDATE closed_allocation SET notes = repeat('long ', 2000) WHERE client_external_id = 'first-cleared';
        UPDATE closed_allocation SET notes = '' WHERE client_external_id = 'first-released';
        UPDATE closed_allocation SET notes = 'ζ \u{1F3E6} \"quoted\"' WHERE client_external_id = 'second-cleared';
        CREATE TABLE saved_entry AS TABLE entry;
        CREATE TABLE saved_closed AS TABLE closed_allocation";
    it.sql.batch_execute(texts).await.expect(texts);
    it.seal(it.ends[0]).await;
    let mut periods = it.archive().await;
    it.seal(it.ends[1]).await;
    periods.extend(it.archive().await);
    let mut start = "-infinity".to_owned();
    for period in &periods {
        let end = period.bounds.end.to_string();
        let range = |time: &str| format!("{time} >= '{start}' AND {time} < '{end}'");
        let name = period
            .folder
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        for (stem, table, rest) in [
            (
                "entries",
                "saved_entry",
                format!(
                    "WHERE {} ORDER BY owner_id, time, account_id, unit, version",
                    range("time")
                ),
            ),
            (
                "allocations",
                "saved_closed",
                format!("WHERE {} ORDER BY owner_id, id", range("updated_at")),
            ),
            (
                "carry-forwards",
                "carry_forward",
                format!("WHERE end_time = '{end}' ORDER BY owner_id, account_id, unit"),
            ),
            (
                "sealed-owners",
                "sealed_owner",
                format!("WHERE end_time = '{end}' ORDER BY owner_id"),
            ),
        ] {
            let (columns, found) = read(&period.folder.join(format!("{stem}-{name}.parquet")));
            let expected = stored(&it.sql, table, &columns, &rest).await;
            assert_eq!(found, expected, "{stem} of {name}");
            if stem == "entries" {
                assert_eq!(columns.len(), 12);
                assert_eq!(found.len(), usize::try_from(period.entries).expect("few"));
            } else if stem == "allocations" {
                assert_eq!(columns.len(), 23, "all columns of the table");
                assert_eq!(found.len(), usize::try_from(period.records).expect("few"));
            }
        }
        start = end;
    }
    let entries: i64 = periods.iter().map(|period| period.entries).sum();
    assert_eq!(
        entries,
        it.count(&format!("saved_entry WHERE time < '{}'", it.ends[1]))
            .await
    );
}
