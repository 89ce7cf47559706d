//! The settings that a new session of this role in this database has, before it sets any itself.

use std::collections::BTreeMap;

use crate::db::inspect::look::{InspectError, Look};

/// A setting of the server.
#[derive(Clone, Debug)]
pub(crate) struct ServerSetting {
    /// The value in the setting's own unit.
    value: String,
    /// The unit, such as `ms` or `8kB`, if the setting has one.
    unit: Option<String>,
    /// Where it comes from: `default`, `configuration file`, `database`, `user` and others.
    pub(crate) source: String,
}

/// The settings that the role may see, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerSettingMap(BTreeMap<String, ServerSetting>);

/// All settings. `reset_val` leaves aside what Earmark sets for each session.
pub(crate) async fn all(look: &Look<'_>) -> Result<ServerSettingMap, InspectError> {
    let sql = "SELECT name, coalesce(reset_val, ''), unit, source FROM pg_settings";
    let rows = look.rows(sql, &[]).await?;
    let each = rows.iter().map(|row| {
        let setting = ServerSetting {
            value: row.get(1),
            unit: row.get(2),
            source: row.get(3),
        };
        (row.get(0), setting)
    });
    Ok(ServerSettingMap(each.collect()))
}

/// The folder of the server's files; `None` if the role may not see it.
pub(crate) async fn data_directory(look: &Look<'_>) -> Result<Option<String>, InspectError> {
    let sql = "SELECT setting FROM pg_settings WHERE name = 'data_directory'";
    let rows = look.rows(sql, &[]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

impl ServerSettingMap {
    /// `None` if the version of Postgres has no such setting, or the role may not see it.
    pub(crate) fn get(&self, name: &str) -> Option<&ServerSetting> {
        self.0.get(name)
    }

    /// The value in the setting's own unit.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|setting| setting.value.as_str())
    }

    /// Whether a setting is off; false if it is not visible.
    pub(crate) fn is_off(&self, name: &str) -> bool {
        self.text(name) == Some("off")
    }

    /// The bytes of a setting of memory or disk.
    pub(crate) fn bytes(&self, name: &str) -> Option<i64> {
        let setting = self.get(name)?;
        let unit = match setting.unit.as_deref()? {
            "B" => 1,
            "kB" => 1 << 10,
            "8kB" => 8 << 10,
            "16MB" => 16 << 20,
            "MB" => 1 << 20,
            _ => return None,
        };
        setting.value.parse::<i64>().ok()?.checked_mul(unit)
    }

    /// The seconds of a setting of time; zero mostly means no limit.
    pub(crate) fn seconds(&self, name: &str) -> Option<f64> {
        let setting = self.get(name)?;
        let unit = match setting.unit.as_deref()? {
            "ms" => 0.001,
            "s" => 1.0,
            "min" => 60.0,
            _ => return None,
        };
        Some(setting.value.parse::<f64>().ok()? * unit)
    }

    /// Settings for tests: names and values, and a unit where there is one.
    #[cfg(test)]
    pub(crate) fn of(settings: &[(&str, &str, Option<&str>)]) -> Self {
        let each = settings.iter().map(|(name, value, unit)| {
            let setting = ServerSetting {
                value: (*value).into(),
                unit: unit.map(Into::into),
                source: "configuration file".into(),
            };
            ((*name).to_owned(), setting)
        });
        Self(each.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_their_units() {
        let settings = ServerSettingMap::of(&[
            ("shared_buffers", "16384", Some("8kB")),
            ("max_wal_size", "1024", Some("MB")),
            ("statement_timeout", "1500", Some("ms")),
            ("max_connections", "100", None),
            ("fsync", "off", None),
        ]);
        assert_eq!(settings.bytes("shared_buffers"), Some(128 << 20));
        assert_eq!(settings.bytes("max_wal_size"), Some(1 << 30));
        assert_eq!(settings.seconds("statement_timeout"), Some(1.5));
        assert!(settings.is_off("fsync") && !settings.is_off("full_page_writes"));
        assert_eq!(settings.bytes("max_connections"), None);
    }
}
