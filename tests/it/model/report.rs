//! Output of a run: progress, counts of calls and answers, and breaches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::call::{Answer, Call, Command, Subject};
use super::check::{Breach, Findings, Past};
use super::plan::Shape;
use super::servers::Disturbance;

/// Neighbours that a failure shows on either side.
const NEIGHBOURS: usize = 8;
/// Characters of a line that a failure shows.
const LINE_CHARS: usize = 600;

/// How often each kind of command was answered how.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<(String, String), usize>);

impl Counts {
    pub(super) fn of(calls: &[Call]) -> Self {
        let mut counts = Self::default();
        for call in calls {
            let validated = if call.validate_only {
                ", validated"
            } else {
                ""
            };
            let name = format!("{}{validated}", call.command.name());
            match (&call.answer, &call.command) {
                (Answer::Items(items), _) => {
                    for item in items {
                        counts.add(&name, item.name(), 1);
                    }
                }
                (answer, command) => counts.add(&name, answer.name(), command.weight()),
            }
        }
        counts
    }

    fn add(&mut self, command: &str, answer: &str, count: usize) {
        *self.0.entry((command.into(), answer.into())).or_default() += count;
    }

    pub(super) fn extend(&mut self, other: Self) {
        for ((command, answer), count) in other.0 {
            self.add(&command, &answer, count);
        }
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// How many had this answer, whatever was asked.
    pub(super) fn answered(&self, wanted: &str) -> usize {
        let found = self.0.iter().filter(|((_, answer), _)| answer == wanted);
        found.map(|(_, count)| count).sum()
    }

    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        for ((command, answer), count) in &self.0 {
            _ = writeln!(table, "  {command:24} {answer:24} {count:>9}");
        }
        table
    }
}

impl Findings {
    pub(super) fn add(&mut self, other: Self) {
        self.movements += other.movements;
        self.expired += other.expired;
        self.latest = self.latest.max(other.latest);
        self.concurrent += other.concurrent;
        self.untold += other.untold;
    }

    pub(super) fn line(&self) -> String {
        format!(
            "{} movements, {} expired ({} ms after their time at the most), {} calls met others, {} effects nobody was told of",
            self.movements,
            self.expired,
            self.latest / 1_000,
            self.concurrent,
            self.untold
        )
    }
}

/// How far it has come: a bar on a terminal, else a line now and then.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    goal: usize,
    done: AtomicUsize,
    started: Instant,
}

impl Progress {
    pub(super) fn quiet() -> Self {
        Self::new(0, None)
    }

    pub(super) fn shown(goal: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(goal as u64);
            let template =
                "{bar:40} {human_pos} of {human_len} commands, {per_sec}, {elapsed}, {msg}";
            bar.set_style(ProgressStyle::with_template(template).expect("a template"));
            bar
        });
        Self::new(goal, bar)
    }

    fn new(goal: usize, bar: Option<ProgressBar>) -> Self {
        Self {
            bar,
            goal,
            done: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    pub(super) fn add(&self, commands: usize) {
        let before = self.done.fetch_add(commands, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(commands as u64);
        } else if self.goal > 0 {
            let tenths = |done: usize| done * 10 / self.goal;
            if tenths(before) < tenths(before + commands) {
                self.say(&format!("{} of {} commands", before + commands, self.goal));
            }
        }
    }

    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None if self.goal > 0 => eprintln!("{line}"),
            None => {}
        }
    }

    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How a round is played again.
pub(super) fn recipe(seed: u64, shape: Shape, disturbance: Disturbance) -> String {
    format!(
        "EARMARK_MODEL_SEED={seed} EARMARK_MODEL_COMMANDS={} make test ARGS=model::{}",
        shape.commands,
        disturbance.test()
    )
}

/// All that there is to say about a breach.
pub(super) fn failure(
    seed: u64,
    shape: Shape,
    disturbance: Disturbance,
    owner: usize,
    past: &Past<'_>,
    breach: &Breach,
) -> String {
    let mut text = format!(
        "the model does not allow this: {}\nowner {owner} ({}), seed {seed}; again: {}\n",
        breach.what,
        past.owner.enterprise,
        recipe(seed, shape, disturbance)
    );
    if let Some(place) = breach.place {
        _ = writeln!(text, "movements about {place}:");
        let from = place.saturating_sub(NEIGHBOURS);
        for (number, movement) in past.journal.iter().enumerate().skip(from) {
            if number > place + NEIGHBOURS {
                break;
            }
            line(&mut text, number == place, number, &format!("{movement:?}"));
        }
        let subject = match &past.journal[place].subject {
            Subject::Record(id) => id.to_string(),
            Subject::Adjustment(key) => format!("key: {key:?}"),
        };
        calls(&mut text, past, &format!("calls about {subject}"), |call| {
            format!("{call:?}").contains(&subject)
        });
    }
    if let Some(number) = breach.call {
        let it = &past.calls[number];
        _ = writeln!(text, "the call:");
        line(&mut text, true, number, &format!("{it:?}"));
        if let Some(known_by) = breach.known_by {
            _ = writeln!(text, "whose caller may have known of this:");
            let knower = format!("{:?}", past.calls[known_by]);
            line(&mut text, false, known_by, &knower);
        }
        let (asked, answered) = (it.asked.order, it.answered.order);
        calls(&mut text, past, "writes at the same time", |call| {
            let at_once = call.asked.order <= answered && call.answered.order >= asked;
            at_once && call.command.is_write() && !call.validate_only
        });
        if let Some(subject) = subject(it) {
            calls(&mut text, past, "calls about the same", |call| {
                format!("{call:?}").contains(&subject)
            });
        }
    }
    text
}

/// What other calls about the same have in common with a call.
fn subject(call: &Call) -> Option<String> {
    match &call.command {
        Command::Create(create) => Some(format!("key: {:?}", create.key)),
        Command::Close(close) => Some(close.id.to_string()),
        Command::Get { id, .. } => Some(id.to_string()),
        Command::Adjust(adjust) => Some(format!("key: {:?}", adjust.key)),
        _ => None,
    }
}

fn calls(text: &mut String, past: &Past<'_>, title: &str, wanted: impl Fn(&Call) -> bool) {
    _ = writeln!(text, "{title}:");
    let found = past
        .calls
        .iter()
        .enumerate()
        .filter(|(_, call)| wanted(call));
    for (number, call) in found.take(4 * NEIGHBOURS) {
        line(text, false, number, &format!("{call:?}"));
    }
}

fn line(text: &mut String, is_it: bool, number: usize, what: &str) {
    let mark = if is_it { ">" } else { " " };
    let what: String = what.chars().take(LINE_CHARS).collect();
    _ = writeln!(text, "{mark} {number:>6} {what}");
}
