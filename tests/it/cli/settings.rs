//! Where settings come from: flags, environment variables, the configuration file, and files of secrets.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use earmark::auth::dev_key::DevKey;
use serde_json::Value;

use crate::support::process::{earmark, run, text};

/// A folder with a configuration file.
pub(super) struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    pub(super) fn new(file: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let own = Self { folder };
        own.write("earmark.toml", file);
        own
    }

    pub(super) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("written");
        path
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("earmark.toml")
    }

    /// A command that reads the file.
    pub(super) fn earmark(&self, arguments: &[&str]) -> Command {
        let mut command = earmark(arguments);
        command.arg("--config").arg(self.file());
        command
    }
}

/// What `earmark config` prints: for each setting its value, and where that comes from.
pub(super) fn shown(command: &mut Command) -> BTreeMap<String, (String, String)> {
    let output = run(command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut shown = BTreeMap::new();
    let printed = text(&output.stdout);
    for line in printed.lines().skip(1) {
        let (line, origin) = line.rsplit_once("  # ").expect("an origin");
        let line = line.trim_start_matches("# ").trim_end();
        let (name, value) = line.split_once(" = ").unwrap_or((line, ""));
        shown.insert(name.into(), (value.into(), origin.into()));
    }
    shown
}

#[test]
fn doctor_looks_at_what_the_table_of_serve_has() {
    let folder = Folder::new(
        "[serve]\ntls-cert = \"not-there.pem\"\ntls-key = \"not-there.key\"\n[doctor]\nformat = \"json\"\n",
    );
    let nobody = "postgres://somebody@127.0.0.1:1/nothing?sslmode=disable";
    let output = run(&mut folder.earmark(&["doctor", "--database-url", nobody]));
    let printed = text(&output.stdout);
    let value: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(value.is_object());
    assert!(printed.contains("not-there.pem"), "{printed}");
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    text(&output.stderr)
}

/// Contents of a file, and what the error says of them: from the line's number on, if it begins with one.
const WRONG: &[(&str, &str)] = &[
    (
        "pool_size = 16",
        "1: no setting `pool_size`: did you mean `pool-size`?",
    ),
    (
        "\n[serve]\npool-sizes = 16",
        "3: no setting `pool-sizes`: did you mean `pool-size`?",
    ),
    (
        "[server]\npool-size = 16",
        "1: no command `server`: did you mean [serve]?",
    ),
    (
        "[serve]\ngrant = \"r\"",
        "2: `grant` is no setting of serve: it belongs at the top of the file, or in [migrate]",
    ),
    (
        "serve = 1",
        "1: `serve` is a command: its settings are in a table [serve]",
    ),
    (
        "colour = 1",
        "its keys are the flags that `earmark <command> --help` lists",
    ),
    ("config = \"other.toml\"", "1: `config` names this file"),
    (
        "pool-size = \"16\"",
        "1: pool-size: must be a whole number, such as 16, got the text \"16\"",
    ),
    ("pool-size = 7", "1: pool-size: 7 is not in 8..=1000"),
    (
        "pool-size = 1.5",
        "1: pool-size: must be a whole number, such as 16, got the number 1.5",
    ),
    (
        "pool-size = 99999999999999999999",
        "1: pool-size: number too large to fit in target type, got \"99999999999999999999\"",
    ),
    (
        "drain = 25",
        "1: drain: must be a text in quotes, such as \"25s\", got the number 25",
    ),
    ("drain = \"25\"", "1: drain: time unit needed"),
    (
        "call-max = \"25h\"",
        "1: call-max: must be from 100ms to 24h, got \"25h\"",
    ),
    (
        "reflection = \"yes\"",
        "1: reflection: must be true or false, such as true, got the text \"yes\"",
    ),
    (
        "log-format = \"xml\"",
        "1: log-format: must be one of auto, text, json, got \"xml\"",
    ),
    ("log = \"a=b=c\"", "1: log: "),
    (
        "claim-scope = \"scp\"",
        "1: claim-scope: must be an array, each element a text in quotes, such as [\"scope\"]",
    ),
    (
        "claim-scope = [\"a,b\"]",
        "1: claim-scope: a value must not contain ','",
    ),
    ("database-url = \"\"", "1: database-url: must not be empty"),
    (
        "listen = []",
        "1: listen: must be a text in quotes, such as \"127.0.0.1:50051\", got an array",
    ),
    ("listen = \"a\"\nlisten = \"b\"", ":2: duplicate key"),
    ("drain = ", ":1: "),
];

#[test]
fn what_is_wrong_in_the_file_is_named_with_its_line() {
    let folder = Folder::new("");
    for &(content, expected) in WRONG {
        folder.write("earmark.toml", content);
        let why = refusal(&run(&mut folder.earmark(&["config"])));
        let expected = match expected.strip_prefix(':') {
            Some(_) => format!("{}{expected}", folder.file().display()),
            None if expected.starts_with(|it: char| it.is_ascii_digit()) => {
                format!("earmark: {}:{expected}", folder.file().display())
            }
            None => expected.into(),
        };
        assert!(why.contains(&expected), "{content}: {why}");
    }

    folder.write("earmark.toml", "drain = 25\n\n[migrate]\ngrunt = \"r\"\n");
    let why = refusal(&run(&mut folder.earmark(&["serve"])));
    for line in [":1: drain", ":4: no setting `grunt`: did you mean `grant`?"] {
        assert!(why.contains(line), "all of them: {why}");
    }
    let why = refusal(&run(&mut earmark(&[
        "serve",
        "--config",
        "/none/earmark.toml",
    ])));
    assert!(
        why.contains("--config /none/earmark.toml: No such file"),
        "{why}"
    );
}

#[test]
fn the_file_gives_what_is_required() {
    let folder = Folder::new("issuer = \"i\"\naudience = \"a\"\njwks = \"/none\"\n");
    let why = refusal(&run(&mut folder.earmark(&["serve"])));
    let missing = why.split("Usage").next().unwrap_or_default();
    assert!(missing.contains("--database-url <URL>"), "{why}");
    assert!(!missing.contains("--issuer"), "{why}");

    folder.write(
        "earmark.toml",
        "database-url = \"postgres://h/d\"\n[serve]\nissuer = \"i\"\naudience = \"a\"\njwks = \"/none\"\n",
    );
    let why = refusal(&run(&mut folder.earmark(&["serve"])));
    assert!(why.contains("--jwks /none: "), "as far as its keys: {why}");

    // By the variable, and before the command.
    let mut serve = earmark(&["--log", "warn", "serve"]);
    let why = refusal(&run(serve.env("EARMARK_CONFIG", folder.file())));
    assert!(why.contains("--jwks /none: "), "{why}");

    // Each command has its table.
    folder.write(
        "earmark.toml",
        "database-url = \"nonsense\"\n[migrate]\ndatabase-url = \"postgresql://127.0.0.1:1/d\"\n",
    );
    let why = refusal(&run(&mut folder.earmark(&["migrate"])));
    assert!(why.contains("cannot connect"), "{why}");
    let why = refusal(&run(&mut folder.earmark(&["verify"])));
    assert!(why.contains("postgresql://"), "{why}");
}

#[test]
fn a_probe_goes_on_without_a_file_that_is_wrong() {
    let folder = Folder::new("timeot = \"1s\"\n");
    let probe = ["healthcheck", "--address", "127.0.0.1:1"];
    let output = run(&mut folder.earmark(&probe));
    assert_eq!(output.status.code(), Some(1), "it has tried: {output:?}");
    let why = text(&output.stderr);
    assert!(why.contains("did you mean `timeout`?"), "{why}");
    assert!(why.contains("The file is ignored."), "{why}");
    assert!(why.contains("cannot connect to 127.0.0.1:1"), "{why}");
}

#[test]
fn passwords_are_hidden_unless_they_are_asked_for() {
    let shown_of = |url: &str, arguments: &[&str]| {
        let output = run(earmark(&["config"])
            .args(arguments)
            .env("DATABASE_URL", url));
        text(&output.stdout)
    };
    let hidden = [
        (
            "postgresql://u:hunter2@h/d",
            "# database-url = \"postgresql://u:***@h/d\"",
        ),
        (
            "postgres://u:hun@ter2@h:1,i:2/d?sslmode=require",
            "\"postgres://u:***@h:1,i:2/d?sslmode=require\"",
        ),
        (
            "postgres://h/d?user=u&password=hunter2&a=b",
            "\"postgres://h/d?user=u&password=***&a=b\"",
        ),
        ("host=h password=hunter2", "# database-url = \"***\""),
    ];
    for (url, expected) in hidden {
        let printed = shown_of(url, &[]);
        assert!(printed.contains(expected), "{url}: {printed}");
        assert!(!printed.contains("ter2"), "{printed}");
        let printed = shown_of(url, &["--show-secrets"]);
        assert!(
            printed.contains(&format!("\ndatabase-url = \"{url}\"")),
            "{printed}"
        );
    }
    let printed = shown_of("postgres://u@h/d", &[]);
    assert!(
        printed.contains("\ndatabase-url = \"postgres://u@h/d\""),
        "{printed}"
    );

    // Nor does an error show one.
    let folder = Folder::new("database-url = [\"postgres://u:hunter2@h/d\"]\n");
    let why = refusal(&run(&mut folder.earmark(&["config"])));
    assert!(
        why.contains("database-url") && !why.contains("hunter2"),
        "{why}"
    );
}

#[test]
fn what_config_prints_is_a_file_that_gives_the_same() {
    let folder = Folder::new(
        "calls-max = 77\nissuer = 'https://issuer.example/\"quoted\\'\nclaim-scope = ['a', 'b c']\nreflection = false\n",
    );
    let mut first = folder.earmark(&["config", "--drain", "1m 30s", "--audience", "ä\tb\u{7f}"]);
    first
        .env("DATABASE_URL", "postgres://u@h/d")
        .env("EARMARK_WRITERS", "3");
    let values = |shown: BTreeMap<String, (String, String)>| {
        let values = shown.into_iter().map(|(name, (value, _))| (name, value));
        values.collect::<BTreeMap<_, _>>()
    };
    let expected = values(shown(&mut first));
    let printed = text(&run(&mut first).stdout);
    let again = Folder::new(&printed);
    let read = shown(&mut again.earmark(&["config"]));
    for name in ["calls-max", "issuer", "drain", "audience", "writers"] {
        let (value, origin) = &read[name];
        assert!(origin.contains("earmark.toml:"), "{name}: {value} {origin}");
    }
    assert_eq!(values(read), expected);
    assert_eq!(expected["drain"], "\"1m 30s\"");
}

#[test]
fn the_url_of_the_database_is_read_from_a_file_of_its_own() {
    let folder = Folder::new("");
    let secret = folder.write("url", "postgres://u:hunter2@h/d\r\n");
    let path = secret.to_str().expect("UTF-8");
    let url = |command: &mut Command| shown(command)["database-url"].clone();
    let show = ["config", "--show-secrets"];
    let expected = ("\"postgres://u:hunter2@h/d\"".to_owned(), path.to_owned());

    assert_eq!(
        url(earmark(&show).args(["--database-url-file", path])),
        expected
    );
    assert_eq!(url(earmark(&show).env("DATABASE_URL_FILE", path)), expected);
    folder.write("earmark.toml", &format!("database-url-file = {path:?}\n"));
    assert_eq!(url(&mut folder.earmark(&show)), expected);

    // The stronger source counts, whichever of the two it sets.
    let stronger = url(folder.earmark(&show).env("DATABASE_URL", "postgres://h/e"));
    assert_eq!(stronger.0, "\"postgres://h/e\"");
    folder.write("earmark.toml", "database-url = \"postgres://h/e\"\n");
    assert_eq!(
        url(folder.earmark(&show).env("DATABASE_URL_FILE", path)),
        expected
    );
    let mut both = folder.earmark(&["config"]);
    both.env("DATABASE_URL_FILE", path)
        .env("DATABASE_URL", "postgres://h/e");
    let why = refusal(&run(&mut both));
    assert!(
        why.contains("give either --database-url or --database-url-file"),
        "{why}"
    );

    let mut serve = earmark(&[
        "serve",
        "--issuer",
        "i",
        "--audience",
        "a",
        "--jwks",
        "/none",
    ]);
    let why = refusal(&run(serve.env("DATABASE_URL_FILE", path)));
    assert!(why.contains("--jwks /none"), "required, and there: {why}");
    let mut migrate = earmark(&["migrate", "--database-url-file", "/none/url"]);
    let why = refusal(&run(&mut migrate));
    assert!(
        why.contains("--database-url-file /none/url: No such file"),
        "{why}"
    );
}

#[test]
fn check_finds_what_serve_would_refuse_and_connects_to_nothing() {
    let folder = Folder::new("");
    let why = refusal(&run(&mut folder.earmark(&["config", "--check"])));
    for name in ["database-url", "issuer", "audience"] {
        assert!(
            why.contains(&format!("{name} is missing: set --{name}")),
            "{why}"
        );
    }

    let key = DevKey::generate().expect("a key");
    let jwks = folder.write("jwks.json", &key.jwks().to_string());
    let good = format!(
        "database-url = \"postgres://u:p@192.0.2.1/d\"\nissuer = \"i\"\naudience = \"a\"\njwks = {jwks:?}\n"
    );
    let check = |more: &str| {
        folder.write("earmark.toml", &format!("{good}{more}"));
        run(&mut folder.earmark(&["config", "--check"]))
    };
    let output = check("");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).starts_with("The configuration can be used"),
        "{output:?}"
    );

    let readable = |mode| {
        fs::set_permissions(folder.file(), fs::Permissions::from_mode(mode)).expect("changed");
        text(&run(&mut folder.earmark(&["config", "--check"])).stdout)
    };
    assert!(readable(0o644).contains("chmod o-r"));
    assert!(!readable(0o640).contains("chmod"));

    for (more, expected) in [
        (
            "jwks-ca = \"/none/ca.pem\"\n",
            "--jwks-ca /none/ca.pem: No such file",
        ),
        (
            "jwks-stale-max = \"1m\"\n",
            "--jwks-stale-max 1m must not be below --jwks-max-age 5m",
        ),
        ("pool-size = 1\n", ":5: pool-size"),
    ] {
        let why = refusal(&check(more));
        assert!(why.contains(expected), "{why}");
    }
    folder.write("jwks.json", "{}");
    let why = refusal(&check(""));
    assert!(
        why.contains("--jwks ") && why.contains("jwks.json: "),
        "{why}"
    );
    let url = [
        "config",
        "--check",
        "--database-url",
        "postgres://h/d?sslmode=sometimes",
    ];
    let why = refusal(&run(&mut folder.earmark(&url)));
    assert!(why.contains("--database-url: sslmode=sometimes"), "{why}");
    assert!(why.contains("--jwks "), "each of them: {why}");
}

#[test]
fn the_example_is_what_the_schema_and_the_program_accept() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(top.join("deploy/earmark.toml")).expect("an example");
    let schema = fs::read_to_string(top.join("docs/earmark.schema.json")).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let valid = |file: &str| {
        let file: toml::Table = toml::from_str(file).expect("TOML");
        let file = serde_json::to_value(file).expect("JSON");
        validator.is_valid(&file)
    };
    assert!(
        example.starts_with("#:schema ../docs/earmark.schema.json\n"),
        "editors look for it"
    );
    assert!(valid(&example));
    assert!(valid(
        "[serve]\nclaim-scope = [\"a\"]\nreflection = false\n"
    ));
    for refused in [
        "pool_size = 16",
        "[serve]\ngrant = \"r\"",
        "[server]",
        "pool-size = \"16\"",
        "log-format = \"xml\"",
        "claim-scope = \"scp\"",
    ] {
        assert!(!valid(refused), "{refused}");
    }

    let folder = Folder::new("");
    let mounted = folder.folder.path().display().to_string();
    folder.write("database-url", "postgres://u:p@h/d\n");
    folder.write("owner-database-url", "postgres://o:p@h/d\n");
    assert!(example.contains("\"/run/secrets/earmark/"), "{example}");
    folder.write(
        "earmark.toml",
        &example.replace("/run/secrets/earmark", &mounted),
    );
    let shown = shown(&mut folder.earmark(&["config"]));
    let from_file = shown.values().filter(|it| it.1.contains("earmark.toml:"));
    assert!(from_file.count() >= 3, "{shown:?}");
}
