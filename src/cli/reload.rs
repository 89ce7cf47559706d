//! Reads the configuration file again on SIGHUP, and changes what can be changed while the server runs: the log filter.

use std::ffi::OsString;

use clap::Command;
use tokio::signal::unix::Signal;

use crate::settings::{EffectiveSettings, ResolveError, resolve};
use crate::telemetry::LogFilter;

/// The setting that can be changed while the server runs.
const LOG: &str = "log";

/// The settings of a server that runs.
pub(super) struct RunningSettings {
    pub(super) command: Command,
    pub(super) arguments: Vec<OsString>,
    /// The settings in force.
    pub(super) settings: EffectiveSettings,
    pub(super) log: LogFilter,
}

impl RunningSettings {
    /// Reads the settings again at each signal.
    pub(super) async fn reload_on(mut self, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            let (command, arguments) = (self.command.clone(), self.arguments.clone());
            let reading = tokio::task::spawn_blocking(move || read(&command, &arguments));
            match reading.await {
                Ok(Ok(read)) => self.apply(&read),
                Ok(Err(error)) => keep_old(&error),
                Err(error) => keep_old(&error.to_string()),
            }
        }
    }

    fn apply(&mut self, read: &EffectiveSettings) {
        let mut changed = "nothing".to_owned();
        let mut filter = None;
        let differences = self.settings.changed_in(read);
        if differences.contains(&LOG)
            && let (Some(old), Some(new)) = (self.settings.value(LOG), read.value(LOG))
        {
            changed = format!("{LOG}: {old} -> {new}");
            filter = Some(new.to_owned());
        }
        let others = differences.into_iter().filter(|name| *name != LOG);
        let needs_restart = others.collect::<Vec<_>>().join(", ");
        let report = || {
            tracing::info!(
                changed,
                needs_restart,
                "SIGHUP: the settings were read again"
            );
        };
        // With the more talkative of the two filters, so that the line is seen.
        let is_seen = tracing::enabled!(tracing::Level::INFO);
        if is_seen {
            report();
        }
        if let Some(filter) = filter {
            if let Err(error) = self.log.set(&filter) {
                keep_old(&error);
                return;
            }
            self.settings.take(LOG, read);
        }
        if !is_seen {
            report();
        }
    }
}

fn read(command: &Command, arguments: &[OsString]) -> Result<EffectiveSettings, String> {
    let resolved = resolve(command, arguments).map_err(|error| match error {
        ResolveError::CommandLine(error) => error.render().to_string(),
        other => other.to_string(),
    })?;
    EffectiveSettings::of(&resolved).ok_or_else(|| "there are no settings".into())
}

fn keep_old(error: &str) {
    tracing::warn!(
        error,
        "SIGHUP: the settings cannot be used, and those from before stay in force"
    );
}
