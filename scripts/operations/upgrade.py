"""Replaces servers by others under load, forth and back, as seen by a client with gRPC's own retries.

See docs/upgrade.md, and scripts/check-upgrade, which runs this.
"""

import json
import os
import sys
import threading
from collections import Counter
from pathlib import Path

import paths
from load import Parties, Writers, allocation, allocation_grpc
from postgres import Cluster, Workspace
from server import Issuer, Server, free_port, migrate, verify

import grpc

CALLERS = 8
LAME_DUCK = "2s"
# Calls between two steps of an upgrade.
BETWEEN = 400

RETRIES = {
    "name": [{"service": "earmark.allocation.v1.AllocationService"}],
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}
# Clients as their owners configure them: nothing but gRPC's service config, with and without a look at health.
CLIENTS = {
    "retries": {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [RETRIES]},
    "retries and health checks": {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [RETRIES],
        "healthCheckConfig": {"serviceName": ""},
    },
}


def say(text: str) -> None:
    print(text, flush=True)


def channel(config: dict, addresses: list[str]) -> grpc.Channel:
    """A channel over several addresses, which takes calls in turns to those that can be reached."""
    return grpc.insecure_channel(
        "ipv4:" + ",".join(addresses),
        options=[
            ("grpc.service_config", json.dumps(config)),
            # Without it the list of addresses is sent as `:authority`, which HTTP/2 does not allow.
            ("grpc.default_authority", "earmark.internal"),
            # A server that is back is found within a second.
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ],
    )


class Calls:
    """Reads each new allocation, and clears every second one, as its partner."""

    def __init__(self, parties: Parties) -> None:
        self.parties = parties
        self.lock = threading.Lock()
        self.done: Counter = Counter()

    def __call__(self, stub, created) -> None:
        record = created.allocation.id
        request = allocation.GetAllocationRequest(enterprise_id=self.parties.client, allocation_id=record)
        stub.GetAllocation(request, metadata=self.parties.client_bearer, timeout=20)
        is_cleared = int(record[-1], 16) % 2 == 0
        if is_cleared:
            stub.ClearAllocation(self.parties.clearing(record), metadata=self.parties.partner_bearer, timeout=20)
        with self.lock:
            self.done["create"] += 1
            self.done["get"] += 1
            self.done["clear"] += is_cleared


class Upgrade:
    def __init__(self, workspace: Workspace, cluster: Cluster, issuer: Issuer, old: Path, new: Path) -> None:
        self.workspace, self.cluster, self.issuer = workspace, cluster, issuer
        self.old, self.new = old, new
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self.started: list[Server] = []

    def serve(self, program: Path, slot: int) -> Server:
        log = self.workspace.folder / f"server-{len(self.started)}-{id(self)}.log"
        url = self.cluster.url(Cluster.SERVER)
        arguments = ["--lame-duck", LAME_DUCK]
        server = Server(program, url, self.issuer, log, *arguments, address=self.addresses[slot])
        self.started.append(server)
        return server

    def replace(self, running: Server, program: Path, slot: int, writers: Writers, what: str) -> Server:
        """Starts a server beside the one that runs, waits until it serves, and stops the other by SIGTERM."""
        beside = self.serve(program, slot)
        writers.wait_for(BETWEEN)
        if (code := running.stop()) != 0:
            sys.exit(f"check-upgrade: {what}: the server that was stopped ended with {code}")
        writers.wait_for(BETWEEN)
        say(f"  {what}: {len(writers.written)} writes, {len(writers.failed)} failed calls so far")
        return beside

    def run(self, config: dict) -> None:
        first = self.serve(self.old, 0)
        with first.channel() as direct:
            parties = Parties.make(direct, self.issuer)
        channels = [channel(config, self.addresses) for _ in range(2)]
        calls = Calls(parties)
        writers = Writers(channels, parties, CALLERS, calls)
        try:
            writers.wait_for(BETWEEN)
            applied = migrate(self.new, self.cluster).count("Applied ")
            say(f"  {applied} migrations applied under load")
            running = self.replace(first, self.new, 1, writers, "old to new")
            running = self.replace(running, self.old, 0, writers, "back to old, on the new schema")
            running = self.replace(running, self.new, 1, writers, "old to new again")
        finally:
            writers.stop()
            for server in self.started[:-1]:
                if server.process.poll() is None:
                    server.process.kill()
        running.stop()
        for used in channels:
            used.close()
        self.report(writers, calls)

    def report(self, writers: Writers, calls: Calls) -> None:
        lines = [line for server in self.started for line in server.calls()]
        refused = Counter(
            f"{line['code']} {line.get('reason')}" for line in lines
            if line["method"].startswith("/earmark.") and line["code"] != "Ok"
        )
        done = ", ".join(f"{count} {what}" for what, count in calls.done.items())
        retried = ", ".join(f"{count} {what}" for what, count in refused.items()) or "none"
        say(f"  {done} answered; {len(writers.failed)} calls failed; attempts that servers refused: {retried}")
        for _, error in writers.failed[:5]:
            say(f"    {error.code()}: {error.details()}")
        if writers.failed:
            sys.exit("check-upgrade: calls failed in spite of retries")
        stored = int(self.cluster.sql("SELECT count(*) FROM allocation"))
        if stored != len(writers.written):
            sys.exit(f"check-upgrade: {stored} allocations are stored, and {len(writers.written)} were acknowledged")
        say(f"  {verify(self.new, self.cluster.url())}")


def check(workspace: Workspace) -> None:
    new = paths.earmark_program()
    old = Path(os.environ.get("EARMARK_BASE_PROGRAM", new))
    say(f"old: {old}, new: {new}")
    issuer = Issuer(workspace.folder)
    cluster = Cluster(workspace, "cluster", {})
    cluster.initialise()
    cluster.start()
    try:
        for name, config in CLIENTS.items():
            say(f"a client with {name}:")
            cluster.sql("DROP DATABASE IF EXISTS earmark", "postgres")
            cluster.sql("CREATE DATABASE earmark", "postgres")
            migrate(old, cluster)
            Upgrade(workspace, cluster, issuer, old, new).run(config)
    finally:
        cluster.stop("immediate")


def main() -> None:
    workspace = Workspace()
    try:
        check(workspace)
    finally:
        workspace.delete()
    say("check-upgrade: no call failed")


if __name__ == "__main__":
    main()
