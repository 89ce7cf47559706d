//! README.md and `docs/` compared with the program: the tours are run as typed, tables and links are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use earmark::auth::scope;
use earmark::limits;
use earmark::proto::common::v1::ErrorReason;
use earmark::server::ServerSettings;
use nix::sys::signal::Signal;
use uuid::Uuid;

use crate::support::cluster;
use crate::support::process::{Dev, EARMARK, earmark, run, text};

const README: &str = include_str!("../../README.md");
const TOUR: &str = include_str!("../../docs/tour.md");
const GUARANTEES: &str = include_str!("../../docs/guarantees.md");
const ERRORS: &str = include_str!("../../docs/errors-and-retries.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const LIMITS: &str = include_str!("../../docs/limits.md");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const BALANCE_PROTO: &str = include_str!("../../proto/earmark/balance/v1/balance.proto");
const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");
const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The text below a heading, up to the next one of its kind.
fn section(page: &'static str, heading: &str) -> &'static str {
    let found = page.split_once(&format!("\n## {heading}\n"));
    let (_, rest) = found.unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// The rows of a text's first table whose first column has this head, as cells, without the head.
fn table(text: &'static str, first_column: &str) -> Vec<Vec<&'static str>> {
    let head = format!("| {first_column} |");
    let lines = text.lines().skip_while(|line| !line.starts_with(&head));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect();
    let rows: Vec<Vec<&str>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "no table of {first_column}");
    rows
}

/// The rows of all tables whose first column has this head.
pub(crate) fn rows_of_all_tables(text: &'static str, first_column: &str) -> Vec<Vec<&'static str>> {
    let head = format!("| {first_column} |");
    let tables = text.match_indices(&head).map(|(at, _)| &text[at..]);
    tables.flat_map(|text| table(text, first_column)).collect()
}

/// The words in backticks.
pub(crate) fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Commands, and the output that is shown for them.
#[derive(Debug)]
struct Step {
    commands: String,
    shown: String,
}

/// The `sh` blocks of a text, each with the block of another kind that follows it directly, if there is one.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = text.lines();
    let mut is_directly_after = false;
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            is_directly_after = false;
            continue;
        };
        let block = lines.by_ref().take_while(|line| *line != "```");
        let block: String = block.flat_map(|line| [line, "\n"]).collect();
        if kind == "sh" {
            steps.push(Step {
                commands: block,
                shown: String::new(),
            });
            is_directly_after = true;
        } else if is_directly_after && let Some(step) = steps.last_mut() {
            step.shown = block;
        } else {
            panic!("output of no command: {block}");
        }
    }
    steps
}

/// Ids and times are others at every run.
fn masked(output: &str) -> String {
    let mask = |part: &str| {
        if Uuid::try_parse(part).is_ok() {
            "<id>".into()
        } else if chrono::DateTime::parse_from_rfc3339(part).is_ok() {
            "<time>".into()
        } else {
            part.to_owned()
        }
    };
    let parts: Vec<String> = output.trim_end().split('"').map(mask).collect();
    parts.join("\"")
}

#[test]
fn the_tours_and_the_greeting_work_as_typed() {
    let tools = Path::new(TOP).join("target/tools");
    let grpcurl = tools.join("bin/grpcurl");
    assert!(
        grpcurl.is_file(),
        "{} is missing: `make test` fetches it, and so does `scripts/fetch grpcurl`",
        grpcurl.display()
    );
    // A clone after `make dev`, wherever cargo has put its own files.
    let clone = cluster::own_folder();
    fs::create_dir_all(clone.path().join("target/debug")).expect("a folder");
    symlink(&tools, clone.path().join("target/tools")).expect("a link");
    symlink(EARMARK, clone.path().join("target/debug/earmark")).expect("a link");
    let mut dev = earmark(&["dev", "--listen", "127.0.0.1:0"]);
    // As `make dev` starts it, so that the greeting names it by a path that leads somewhere in the clone.
    let dev = dev.arg0("target/debug/earmark").current_dir(&clone);
    let mut dev = Dev::spawn(dev);
    let address = dev.address().to_owned();
    let bash = |script: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]).env_clear();
        bash.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        bash.env("EARMARK_ADDRESS", &address).current_dir(&clone);
        run(&mut bash)
    };

    let token = dev.greeting.lines().last().expect("a token").to_owned();
    assert!(token.starts_with("export TOKEN="), "the last line: {token}");
    let (_, calls) = dev.greeting.split_once("calls:\n\n").expect("calls");
    let (calls, more) = calls.split_once("\ndocs/tour.md").expect("calls");
    let (first, _) = calls.split_once("\n\n").expect("several");
    assert!(first.lines().count() <= 2, "a short one first: {first}");
    let export = token;
    let token = more
        .lines()
        .find_map(|line| line.strip_prefix("  target/debug/"));
    let token = token.expect("how to make a token");
    let answer = bash(&format!("{export}\n{calls}\ntarget/debug/{token}"));
    let answered = text(&answer.stdout);
    assert!(
        answer.status.success(),
        "{calls}: {answered}{}",
        text(&answer.stderr)
    );
    for part in [
        "networkBalances",
        "custodyBalance",
        "my-first",
        "Account Balance Group",
        "Scaled back",
        "Terrain protégé",
        "eyJ",
    ] {
        assert!(answered.contains(part), "{part}: {answered}");
    }

    // The long one first: at its end it shows how many accounts and entries there are.
    for tour in [TOUR, section(README, "A short tour")] {
        let steps = steps(tour);
        assert!(steps.len() >= 3, "{steps:?}");
        let mut script = "exec 2>&1\n".to_owned();
        for step in &steps {
            _ = writeln!(script, "{}printf '\\036'", step.commands);
        }
        let played = bash(&script);
        let printed = text(&played.stdout);
        let mut outputs = printed.split('\u{1e}');
        for Step { commands, shown } in &steps {
            let output = outputs.next().unwrap_or_default();
            assert_eq!(masked(output), masked(shown), "{commands}");
        }
        assert!(played.status.success(), "{printed}");
    }
    assert_eq!(dev.end(Signal::SIGINT), Some(0));
}

/// A flag as the program itself describes it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flag {
    variable: String,
    default: Option<String>,
    is_required: bool,
    commands: BTreeSet<String>,
}

#[test]
fn the_configuration_is_what_help_says() {
    let between = |text: &str, before: &str, after: &str| {
        let (_, rest) = text.split_once(before)?;
        Some(rest.split_once(after)?.0.to_owned())
    };
    let mut helped: BTreeMap<String, Flag> = BTreeMap::new();
    let overview = text(&run(&mut earmark(&["--help"])).stdout);
    let commands = between(&overview, "Commands:\n", "\n\nOptions:").expect("commands");
    let commands = commands.lines().filter(|line| !line.starts_with("   "));
    let commands = commands.filter_map(|line| line.split_whitespace().next());
    // These have no settings of their own.
    let commands = commands.filter(|it| !["config", "completions", "man", "help"].contains(it));
    let commands: Vec<&str> = commands.collect();
    for command in &commands {
        let help = text(&run(&mut earmark(&[command, "--help"])).stdout);
        let (usage, options) = help.split_once("\nOptions:").expect("options");
        for option in options.split("\n      --").skip(1) {
            let name = option.split_whitespace().next().unwrap_or_default();
            let flag = helped.entry(format!("--{name}")).or_default();
            let variable = between(option, "[env: ", "]").expect("a variable");
            // What it holds now is shown too, unless that may be a secret.
            flag.variable = variable.split('=').next().unwrap_or_default().into();
            let default = between(option, "[default: ", "]");
            flag.default = default;
            flag.is_required |= usage.contains(&format!(" --{name} "));
            flag.commands.insert((*command).into());
        }
    }

    let mut documented: BTreeMap<String, Flag> = BTreeMap::new();
    for row in table(CONFIGURATION, "flag") {
        let [flag, variable, default, of, _] = row[..] else {
            panic!("{row:?}");
        };
        let all = commands.join(", ");
        let of = if of == "all" { &all } else { of };
        let mut of: BTreeSet<String> = of.split(", ").map(Into::into).collect();
        // As the text above the table says.
        if of.contains("serve") {
            of.insert("doctor".into());
        }
        let described = Flag {
            variable: code(variable).collect(),
            default: code(default).next().map(Into::into),
            is_required: default == "required",
            commands: of,
        };
        documented.insert(code(flag).collect(), described);
    }
    let names = |flags: &BTreeMap<String, Flag>| flags.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&documented), names(&helped));
    for (name, flag) in &helped {
        assert_eq!(&documented[name], flag, "{name}");
    }
}

/// What a limit is for, and how the page begins to state it.
type Limit = (&'static str, String);

fn mib(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

fn characters(count: usize) -> String {
    format!("{} characters", grouped(count))
}

fn page_sizes(default: u32, max: u32) -> String {
    let [default, max] = [default, max].map(|size| grouped(size as usize));
    format!("{default} unless asked for, {max} at most")
}

fn by_default(limit: Duration) -> String {
    format!("{} s, by default", limit.as_secs())
}

/// Limits of connections, and of what calls share.
fn limits_of_the_server() -> Vec<Limit> {
    let growth = format!(
        "{} times its bytes, or {}",
        limits::REQUEST_GROWTH_MAX,
        mib(limits::REQUEST_MEMORY_MIN)
    );
    let streams = format!(
        "{} and {} on a connection, {} and {} in a process; {} min and {} min each",
        limits::CONNECTION_WATCHES_MAX,
        limits::CONNECTION_REFLECTIONS_MAX,
        grouped(limits::WATCHES_MAX),
        limits::REFLECTIONS_MAX,
        limits::WATCH_MAX.as_secs() / 60,
        limits::REFLECTION_MAX.as_secs() / 60,
    );
    let server = ServerSettings::default();
    let minutes = |time: Duration| format!("{} min", time.as_secs() / 60);
    vec![
        (
            "calls at the same time on one connection",
            grouped(server.streams_max as usize),
        ),
        (
            "connections of one client address",
            grouped(server.connections_per_peer_max),
        ),
        (
            "a TLS handshake",
            format!("{} s, then", server.handshake_max.as_secs()),
        ),
        (
            "connections of the port for health",
            format!(
                "{}, {} of them",
                limits::HEALTH_CONNECTIONS_MAX,
                limits::HEALTH_CONNECTIONS_PER_PEER_MAX
            ),
        ),
        ("a connection's age", minutes(server.connection_age_max)),
        (
            "a connection without a call",
            minutes(server.connection_idle_max),
        ),
        (
            "elements of any list of a request",
            grouped(limits::REQUEST_LIST_MAX),
        ),
        ("a request in memory", growth),
        (
            "a request of which nothing comes",
            format!("{} s, then", limits::BODY_STALL_MAX.as_secs()),
        ),
        ("health watches, reflection calls", streams),
        ("a read by key", by_default(limits::READ_BY_KEY_MAX)),
        ("a page of a list", by_default(limits::READ_LIST_MAX)),
        ("a search", by_default(limits::READ_SEARCH_MAX)),
        (
            "calls of one principal waiting for a connection of one lane",
            grouped(limits::DB_CHECKOUTS_WAITING_MAX),
        ),
        (
            "a wait for a connection",
            format!("{} s", limits::DB_CHECKOUT_MAX.as_secs()),
        ),
    ]
}

/// Limits of every call.
fn limits_of_calls() -> Vec<Limit> {
    let metadata = format!("{} KiB", limits::METADATA_BYTES_MAX >> 10);
    let memberships = grouped(limits::TOKEN_MEMBERSHIPS_MAX);
    let lifetime = limits::TOKEN_LIFETIME_MAX.as_secs() / 3_600;
    let jwks = format!("{} MiB", limits::JWKS_BYTES_MAX >> 20);
    let pages = page_sizes(limits::PAGE_SIZE_DEFAULT, limits::PAGE_SIZE_MAX);
    let offset = grouped(limits::PAGE_OFFSET_MAX as usize);
    vec![
        ("a request", mib(limits::REQUEST_BYTES_MAX)),
        ("an answer", mib(limits::RESPONSE_BYTES_MAX)),
        ("a request's metadata", metadata),
        ("a call", format!("{} s", limits::CALL_MAX.as_secs())),
        ("a currency or unit", characters(limits::UNIT_CHARS_MAX)),
        (
            "an id or key of the caller's",
            characters(limits::ID_CHARS_MAX),
        ),
        ("a name", characters(limits::NAME_CHARS_MAX)),
        (
            "notes, a reason, a link",
            characters(limits::NOTE_CHARS_MAX),
        ),
        (
            "values of one list filter",
            grouped(limits::FILTER_VALUES_MAX),
        ),
        ("records of a page", pages),
        ("page number × page size, an offset", offset),
        (
            "currencies of an enterprise",
            grouped(limits::ENTERPRISE_CURRENCIES_MAX),
        ),
        ("enterprises in a token", memberships.clone()),
        (
            "how far ahead `exp` of a token may be",
            format!("{lifetime} h, by default"),
        ),
        (
            "bytes and keys of a JWKS",
            format!("{jwks}, {} keys", limits::JWKS_KEYS_MAX),
        ),
        (
            "keys that are tried for one token",
            grouped(limits::JWKS_TRIES_MAX),
        ),
        ("companies in a token", memberships),
        ("violations in an error", grouped(limits::VIOLATIONS_MAX)),
    ]
}

/// Limits of allocations and of the ledger's queue.
fn limits_of_the_ledger() -> Vec<Limit> {
    let days = limits::EXPIRE_AHEAD_MAX.as_secs() / 86_400;
    let per_owner = "writes waiting for one enterprise or bucket";
    vec![
        (
            "items of one `SubmitAllocations`",
            grouped(limits::SUBMIT_ITEMS_MAX),
        ),
        ("an `expire_time` ahead of now", format!("{days} days")),
        ("writes waiting for the writers", grouped(limits::QUEUE_MAX)),
        (per_owner, grouped(limits::QUEUE_OWNER_MAX)),
    ]
}

fn limits_of_buckets() -> Vec<Limit> {
    let [bucket, extension] = [limits::BUCKET_BYTES_MAX, limits::BUCKET_EXTENSION_BYTES_MAX];
    let json = format!("{} KiB; {} KiB, as JSON", bucket >> 10, extension >> 10);
    let pages = page_sizes(limits::PAGE_SIZE_DEFAULT, limits::BUCKETS_PAGE_MAX);
    let references = format!("{} of each", limits::BUCKET_REFERENCES_MAX);
    vec![
        ("buckets of a page", pages),
        ("products, resources or parties of a bucket", references),
        ("a bucket; its extension", json),
        (
            "units of a page of `GetAccumulatedBalance`",
            grouped(limits::ACCUMULATED_PAGE_MAX as usize),
        ),
        (
            "a list of `fields`, a `projection`",
            characters(limits::FIELDS_CHARS_MAX),
        ),
    ]
}

fn limits_of_book_building() -> Vec<Limit> {
    let pages = page_sizes(limits::CAS_PAGE_DEFAULT, limits::CAS_PAGE_MAX);
    let elements = "status messages, comments of a CAS allocation";
    vec![
        ("CAS allocations of a page", pages),
        ("criteria of a search", grouped(limits::CRITERIA_MAX)),
        (
            "the cost of a search's criteria",
            grouped(limits::SEARCH_COST_MAX),
        ),
        (
            "fields that a search is sorted by",
            grouped(limits::SORT_FIELDS_MAX),
        ),
        (elements, format!("{} of each", limits::CAS_ELEMENTS_MAX)),
        (
            "operations of a patch",
            grouped(limits::PATCH_OPERATIONS_MAX),
        ),
    ]
}

fn limits_of_catalogues() -> Vec<Limit> {
    let allocations = grouped(limits::CATALOGUE_ALLOCATIONS_MAX as usize);
    vec![
        ("allocations of a company", allocations),
        (
            "a text of the catalogue",
            characters(limits::CATALOGUE_TEXT_CHARS_MAX),
        ),
        (
            "languages of a page of `ListSupportedLanguages`",
            grouped(limits::LANGUAGES_PAGE_MAX as usize),
        ),
        (
            "languages of an allocation",
            grouped(limits::CATALOGUE_LANGUAGES_MAX),
        ),
        (
            "all texts of an allocation",
            mib(limits::CATALOGUE_TEXTS_BYTES_MAX),
        ),
        (
            "languages that a `langcode` asks for",
            format!(
                "{}, in {}",
                limits::LANGUAGES_ASKED_MAX,
                characters(limits::LANGCODE_CHARS_MAX)
            ),
        ),
    ]
}

#[test]
fn the_limits_are_those_of_the_code() {
    let rows: BTreeMap<_, _> = table(LIMITS, "what")
        .into_iter()
        .map(|row| (row[0], row[1]))
        .collect();
    let expected = limits_of_the_server()
        .into_iter()
        .chain(limits_of_calls())
        .chain(limits_of_the_ledger())
        .chain(limits_of_buckets())
        .chain(limits_of_book_building())
        .chain(limits_of_catalogues());
    for (what, limit) in expected {
        let shown = rows.get(what).unwrap_or_else(|| panic!("no row: {what}"));
        assert!(shown.starts_with(&limit), "{what}: {shown}, but {limit}");
    }
}

/// A number with commas between its thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn every_reason_has_its_advice() {
    let rows = table(ERRORS, "code");
    let documented: BTreeSet<&str> = rows.iter().flat_map(|row| code(row[1])).collect();
    let reasons = (1..1_000).filter_map(|number| ErrorReason::try_from(number).ok());
    let names = reasons.map(|reason| &reason.as_str_name()["ERROR_REASON_".len()..]);
    assert_eq!(documented, names.collect());
}

#[test]
fn every_call_is_listed() {
    let mut documented = BTreeSet::new();
    for row in table(section(README, "The calls"), "service") {
        let service = code(row[0]).next().unwrap_or_default();
        documented.extend(code(row[1]).map(|call| format!("{service}/{call}")));
    }
    let calls = scope::RPCS.iter().map(|rpc| rpc.path.rsplit('.').next());
    assert_eq!(documented, calls.flatten().map(Into::into).collect());
}

#[test]
fn every_scope_is_described() {
    let rows = table(OPERATIONS, "scope");
    let documented: BTreeSet<&str> = rows.iter().flat_map(|row| code(row[0])).collect();
    let scopes = scope::RPCS.iter().flat_map(|rpc| rpc.scopes);
    assert_eq!(documented, scopes.map(|scope| scope.name()).collect());
}

#[test]
fn the_invariants_are_those_of_the_proto() {
    let rows = table(GUARANTEES, "name");
    let documented: Vec<String> = rows.iter().map(|row| row[0].replace("**", "")).collect();
    let lines = BALANCE_PROTO.lines().map(str::trim);
    let listed = lines.filter_map(|line| Some(line.strip_prefix("// - L")?.split_once(':')?.0));
    let listed: Vec<String> = listed.map(|name| format!("L{name}")).collect();
    assert_eq!(documented, listed);
}

#[test]
fn every_make_target_is_described() {
    let makefile = fs::read_to_string(Path::new(TOP).join("Makefile")).expect("a Makefile");
    let described = makefile.lines().filter(|line| line.contains(": ## "));
    let targets = described.filter_map(|line| line.split(':').next());
    let documented: BTreeSet<&str> = table(CONTRIBUTING, "command")
        .iter()
        .flat_map(|row| code(row[0]))
        .map(|command| command.trim_start_matches("make "))
        .collect();
    assert_eq!(documented, targets.filter(|name| *name != "help").collect());
}

#[test]
fn the_readme_is_short() {
    let lines = README.lines().count();
    assert!(lines <= 200, "README.md has {lines} lines");
}

/// README.md, the other pages beside it, and those of `docs/`: their paths below the repository's top, and their texts.
fn pages() -> BTreeMap<PathBuf, String> {
    let top = Path::new(TOP);
    let mut pages = BTreeMap::new();
    for folder in ["", "docs", "examples"] {
        for entry in fs::read_dir(top.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let page = fs::read_to_string(&path).expect("a page");
                let path = path.strip_prefix(top).expect("a path below the top");
                pages.insert(path.to_owned(), page);
            }
        }
    }
    pages
}

/// The anchors of a page's headings, as the hosting platforms make them. Code blocks have no headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let texts = page.split("\n```").step_by(2);
    let headings = texts.flat_map(str::lines).filter_map(|line| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len()).then_some(text.strip_prefix(' ')?)
    });
    let anchor = |heading: &str| {
        let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
        let kept: String = heading.chars().filter(kept).collect();
        kept.to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut links = 0;
    for (path, page) in &pages {
        let folder = path.parent().unwrap_or(Path::new(""));
        for link in page.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.starts_with("https://") {
                continue;
            }
            links += 1;
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match target {
                "" => Path::new(TOP).join(path),
                _ => Path::new(TOP).join(folder).join(target),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let page = fs::read_to_string(target).expect("a page");
                assert!(
                    anchors(&page).contains(anchor),
                    "{}: {link}",
                    path.display()
                );
            }
        }
    }
    assert!(links > 40, "{links}");
}
