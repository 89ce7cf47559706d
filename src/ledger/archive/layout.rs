//! Where the files of a period are: in a folder of its own, whose name and whose files' names say which period it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::ledger::archive::table_shape::TableShape;
use crate::ledger::seal::model::PeriodBounds;
use crate::types::time::Time;

/// The end of the name of a folder that is being written.
const UNFINISHED: &str = ".unfinished";

/// The name of a period: names sort as their periods do.
pub(super) fn period_name(bounds: PeriodBounds) -> String {
    format!("{}-{}", compact(bounds.start), compact(bounds.end))
}

/// A time without what a file's name had better not have: 20261130, or 20261130T180000.000000Z if it is not midnight.
fn compact(time: Time) -> String {
    let text: String = time.to_string().replace(['-', ':'], "");
    match text.strip_suffix("T000000.000000Z") {
        Some(day) => day.into(),
        None => text,
    }
}

/// The folder of a period.
pub(super) fn period_folder(directory: &Path, bounds: PeriodBounds) -> PathBuf {
    directory.join(period_name(bounds))
}

/// The folder in which a period's files are written before they are complete.
pub(super) fn unfinished_folder(directory: &Path, bounds: PeriodBounds) -> PathBuf {
    directory.join(format!(".{}{UNFINISHED}", period_name(bounds)))
}

/// The name of the file that has the rows of a table: entries-20261101-20261201.parquet.
pub(super) fn file_name(shape: &TableShape, bounds: PeriodBounds) -> String {
    format!("{}-{}.parquet", shape.file_stem, period_name(bounds))
}

/// The folders of all periods that are complete, in the order of their names.
pub(super) fn period_folders(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        // Something else may lie beside them, such as `lost+found`.
        let is_period = name
            .to_string_lossy()
            .starts_with(|c: char| c.is_ascii_digit());
        if is_period && entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// Waits until the names in a folder are on disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_periods_do() {
        let at = |text: &str| Time::floor(Time::parse_exact(text).expect(text));
        let periods = [
            ("2026-10-07T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("2026-11-01T00:00:00Z", "2026-11-30T18:00:00.5Z"),
            ("2026-11-30T18:00:00.5Z", "2026-12-01T00:00:00Z"),
            ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ];
        let names = periods.map(|(start, end)| {
            period_name(PeriodBounds {
                start: at(start),
                end: at(end),
            })
        });
        assert_eq!(names[0], "20261007-20261101");
        assert_eq!(names[1], "20261101-20261130T180000.500000Z");
        assert!(names.is_sorted(), "{names:?}");
    }
}
