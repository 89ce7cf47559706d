//! What is seen while it runs: a bar on a terminal, else a line for each step. All of it goes to standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where the run stands.
pub(crate) struct Screen {
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            // Fails only for a malformed template, and the default style does as well.
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {elapsed} {bar:30} {pos}/{len} {msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            bar,
            started: Instant::now(),
        }
    }

    /// Names what follows, and of how many steps it is.
    pub(crate) fn stage(&self, name: &str, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(u64::try_from(steps).unwrap_or_default());
            bar.set_position(0);
        }
        self.line(name);
    }

    /// Shows the step that begins now.
    pub(crate) fn step(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Ends it with what came of it.
    pub(crate) fn done(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        self.line(&format!("  {what}"));
    }

    fn line(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs();
        let text = format!("{:>2}:{:02} {text}", seconds / 60, seconds % 60);
        match &self.bar {
            Some(bar) => bar.println(text),
            None => _ = writeln!(io::stderr(), "{text}"),
        }
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
