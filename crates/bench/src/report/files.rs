//! The files of a report.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::report::{BenchReport, html};

impl BenchReport {
    /// Writes it as JSON and as a page by this name; the page's path is answered.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let json = serde_json::to_string_pretty(self)?;
        fs::write(folder.join(name).with_extension("json"), json)?;
        let page = folder.join(name).with_extension("html");
        fs::write(&page, html::page(self)?)?;
        Ok(page)
    }
}
