"""Server processes, the tokens that they accept, and what they cost."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import paths

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ISSUER, AUDIENCE = "operations-check", "earmark"


class Issuer:
    """Signs tokens; servers read its public key from a file."""

    def __init__(self, folder: Path) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.jwks = folder / "jwks.json"
        public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(self.key.public_key()))
        self.jwks.write_text(json.dumps({"keys": [public | {"kid": "1", "use": "sig", "alg": "EdDSA"}]}))

    def bearer(self, scope: str, **claims) -> list[tuple[str, str]]:
        """The metadata of a call."""
        claims |= {"iss": ISSUER, "aud": AUDIENCE, "sub": "operations", "exp": int(time.time()) + 7200, "scope": scope}
        return [("authorization", "Bearer " + jwt.encode(claims, self.key, algorithm="EdDSA", headers={"kid": "1"}))]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run_earmark(program: Path, url: str, *arguments: str) -> subprocess.CompletedProcess:
    """`earmark migrate` or `earmark verify`, to its end."""
    return subprocess.run(
        [program, *arguments], env=os.environ | {"DATABASE_URL": url, "EARMARK_LOG": "warn"}, text=True,
        capture_output=True,
    )


def migrate(program: Path, cluster) -> str:
    """Migrates, grants the server's role what it needs, and answers what was printed."""
    exists = f"SELECT count(*) FROM pg_roles WHERE rolname = '{cluster.SERVER}'"
    if cluster.sql(exists, "postgres") == "0":
        cluster.sql(f"CREATE ROLE {cluster.SERVER} LOGIN", "postgres")
    done = run_earmark(program, cluster.url(), "migrate", "--grant", cluster.SERVER)
    if done.returncode != 0:
        raise RuntimeError(f"earmark migrate ended with {done.returncode}: {done.stderr}")
    return done.stdout


def verify(program: Path, url: str) -> str:
    """`earmark verify` must find no breach; its summary."""
    done = run_earmark(program, url, "verify")
    if done.returncode != 0:
        raise RuntimeError(f"earmark verify ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


class Server:
    """`earmark serve` on a database."""

    def __init__(self, program: Path, url: str, issuer: Issuer, log: Path, *arguments: str, address: str = "") -> None:
        self.address = address or f"127.0.0.1:{free_port()}"
        self.log = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen(
                [
                    program, "--log-format", "json", "serve", "--listen", self.address, "--issuer", ISSUER,
                    "--audience", AUDIENCE, "--jwks", issuer.jwks, *arguments,
                ],
                env=os.environ | {"DATABASE_URL": url},
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )
        self.program = program
        try:
            self._until_serving()
        except BaseException:
            self.process.kill()
            raise

    def _until_serving(self, seconds: int = 60) -> None:
        end = time.monotonic() + seconds
        while True:
            asked = subprocess.run(
                [self.program, "healthcheck", "--address", self.address], capture_output=True, text=True
            )
            if asked.returncode == 0:
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not serve: {asked.stderr}{self.log.read_text()[-4000:]}")
            time.sleep(0.1)

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """SIGTERM, then its exit code."""
        if self.process.poll() is None:
            self.terminate()
        return self.process.wait(timeout=90)

    def calls(self) -> list[dict]:
        """The lines of its access log."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("target") == "earmark::access"]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_postgres(postmaster: int) -> float:
    """The same of a cluster, with the sessions that are open."""
    total = cpu_seconds(postmaster)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[1]) == postmaster:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory_mib(pid: int) -> float:
    """Resident memory of a process at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no process {pid}")
