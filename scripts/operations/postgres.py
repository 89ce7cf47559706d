"""A Postgres cluster of one's own, in a folder that is deleted afterwards."""

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

PROGRAMS = ("postgres", "initdb", "pg_ctl", "psql", "pg_basebackup", "pg_receivewal", "pg_dump", "pg_restore")
MAJORS = range(15, 19)


def find_programs() -> Path:
    """The folder of Postgres's programs, searched for as in scripts/with-postgres."""
    named = os.environ.get("EARMARK_POSTGRES_BIN")
    if named:
        folders = [Path(named)]
    else:
        folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
        folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if not (folder / "postgres").is_file():
            continue
        folder = (folder / "postgres").resolve().parent
        version = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True).stdout
        major = re.search(r"\(PostgreSQL\) (\d+)", version)
        complete = all((folder / program).is_file() for program in PROGRAMS)
        if major and int(major[1]) in MAJORS and complete:
            return folder
    sys.exit(
        f"no folder has {', '.join(PROGRAMS)} of Postgres 15 to 18: run scripts/fetch postgres, and set"
        " EARMARK_POSTGRES_BIN=$PWD/target/tools/postgres/bin"
    )


class Workspace:
    """A folder for clusters and what belongs to them. Root makes it over to the user that Postgres runs as."""

    def __init__(self) -> None:
        self.programs = find_programs()
        self.user = None
        self.folder = Path(tempfile.mkdtemp(prefix="earmark-"))
        if os.geteuid() == 0:
            known = {entry.pw_name: entry for entry in pwd.getpwall()}
            self.user = known.get("postgres") or known["nobody"]
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)

    def make(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        if self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        return folder

    def _as_user(self) -> dict:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        # Postgres's programs print in English, and find no home folder that they may not enter.
        arguments = {"env": environment | {"LC_ALL": "C", "HOME": str(self.folder)}, "cwd": self.folder}
        if self.user:
            arguments |= {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return arguments

    def run(self, program: str, *arguments, check: bool = True) -> str:
        """Runs one of Postgres's programs to its end, and answers what it printed."""
        done = subprocess.run(
            [self.programs / program, *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **self._as_user(),
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def start(self, program: str, *arguments, log: str) -> subprocess.Popen:
        with open(self.folder / log, "ab") as file:
            return subprocess.Popen(
                [self.programs / program, *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, **self._as_user(),
            )

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Cluster:
    """One cluster. Its superuser is `owner`, who also owns the tables; servers connect as `server`."""

    OWNER, SERVER, DATABASE = "owner", "server", "earmark"

    def __init__(self, workspace: Workspace, name: str, settings: dict[str, str]) -> None:
        self.workspace, self.name = workspace, name
        self.data = workspace.folder / name
        self.socket = workspace.make(f"{name}.socket")
        self.settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket),
            "max_connections": "200",
            "lc_messages": "C",
            "log_line_prefix": "%m [%p] ",
        } | settings

    def initialise(self) -> None:
        self.workspace.run(
            "initdb", "--pgdata", self.data, "--username", self.OWNER, "--auth", "trust", "--encoding", "UTF8",
            "--locale", "C",
        )

    def start(self) -> None:
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in self.settings.items()]
        (self.data / "postgresql.auto.conf").write_text("\n".join(lines) + "\n")
        log = self.workspace.folder / f"{self.name}.log"
        self.workspace.run("pg_ctl", "start", "--wait", "--timeout", "120", "--pgdata", self.data, "--log", log)

    def stop(self, mode: str = "fast") -> None:
        self.workspace.run("pg_ctl", "stop", "--pgdata", self.data, "--mode", mode, check=False)

    def url(self, user: str = OWNER, database: str = DATABASE) -> str:
        return f"postgresql://{user}@{quote(str(self.socket), safe='')}/{database}"

    def sql(self, text: str, database: str = DATABASE) -> str:
        """The result of one statement, or of several: columns by `|`, rows by line feeds."""
        return self.workspace.run(
            "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1",
            "--dbname", self.url(database=database), "--command", text,
        )

    def wait_for(self, question: str, answer: str = "t", seconds: int = 60) -> None:
        end = time.monotonic() + seconds
        while self.sql(question, "postgres") != answer:
            if time.monotonic() > end:
                raise RuntimeError(f"not within {seconds} s: {question}")
            time.sleep(0.2)

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split("\n")[0])
