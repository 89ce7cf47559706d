"""What scripts that run servers share: processes that are ended again, and a development server.

Not a program: scripts/check-dashboard and scripts/check-image import it.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
TOOLS = TOP / "target/tools"
EARMARK = TOP / "target/debug/earmark"
# How long a server may take to start, and a condition to come true.
WAIT_MAX_SECONDS = 90


def run(*command, **options):
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, **options)


def prepare(*commands):
    """Runs commands whose output is shown, and gives up if one fails."""
    for command in commands:
        if subprocess.run(command, cwd=TOP).returncode != 0:
            sys.exit(1)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Processes:
    """Programs that run, with files for their output in a new folder."""

    def __init__(self, script, folder):
        self.script, self.folder = script, folder
        self.started = []
        subprocess.run(["rm", "-rf", folder], check=True)
        # Root runs Postgres as another user, who has to reach its folder.
        folder.mkdir(parents=True)

    def start(self, name, *command, environment=None):
        environment = {**os.environ, **(environment or {})}
        with (self.folder / f"{name}.out").open("w") as out, (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen([str(part) for part in command], cwd=TOP, stdout=out, stderr=log, env=environment)
        self.started.append(process)
        return process

    def stop(self):
        """Ends what was started, the last first."""
        for process in reversed(self.started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(WAIT_MAX_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def wait_for(self, what, found, process=None):
        """Asks until there is an answer; gives up with the ends of all logs."""
        end = time.monotonic() + WAIT_MAX_SECONDS
        while time.monotonic() < end and not (process and process.poll() is not None):
            if answer := found():
                return answer
            time.sleep(0.2)
        logs = "".join(f"\n== {log.name}\n{log.read_text()[-2000:]}" for log in self.folder.glob("*.log"))
        sys.exit(f"{self.script}: {what}: not within {WAIT_MAX_SECONDS} s{logs}")


class DevServer:
    """`earmark dev`, and what it prints: the ids of the demo data, a token, and the URL of the database."""

    def __init__(self, processes, *arguments):
        self.output = processes.folder / "dev.out"
        self.data = processes.folder / "data"
        command = ["scripts/with-postgres", EARMARK, "dev", "--listen", "127.0.0.1:0", *arguments]
        process = processes.start("dev", *command, environment={"EARMARK_DATA_DIR": str(self.data)})
        greeting = processes.wait_for("the development server", self.greeting, process)
        self.address = re.search(r"^Earmark serves on ([^,]*),", greeting, re.MULTILINE)[1]
        self.token = re.search(r"^export TOKEN=(.*)$", greeting, re.MULTILINE)[1]
        self.database = re.search(r"psql '(.*)'", greeting)[1]
        self.enterprise = re.search(r'"enterprise_id": "([^"]*)"', greeting)[1]
        self.connection = re.search(r'"connection_id": "([^"]*)"', greeting)[1]

    def greeting(self):
        text = self.output.read_text()
        return text if "\nexport TOKEN=" in text and text.endswith("\n") else None
