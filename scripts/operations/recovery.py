"""Backs a ledger up under load, destroys it, restores it, and compares what is there with what was acknowledged.

See docs/backup.md, which describes the same steps, and scripts/check-recovery, which runs this.
"""

import shutil
import sys
import time


import paths
from load import Parties, Writers, allocation_grpc
from postgres import Cluster, Workspace
from server import Issuer, Server, migrate, verify

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

CALLERS = 8
# How long the reservations last that expire while the ledger is down.
EXPIRE_SECONDS = 20
RECEIVER = "earmark_wal"


def say(text: str) -> None:
    print(text, flush=True)


def expect(what: str, found, wanted) -> None:
    if found != wanted:
        sys.exit(f"check-recovery: {what}: {found}, not {wanted}")


class Recovery:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.program = paths.earmark_program()
        self.issuer = Issuer(workspace.folder)
        self.archive, self.received = workspace.make("archive"), workspace.make("received")
        self.base = workspace.folder / "base"

    def cluster(self, name: str, **settings: str) -> Cluster:
        return Cluster(self.workspace, name, settings)

    def server(self, cluster: Cluster, name: str) -> Server:
        log = self.workspace.folder / f"{name}.serve.log"
        return Server(self.program, cluster.url(Cluster.SERVER), self.issuer, log, "--lame-duck", "0s")

    def original(self) -> Cluster:
        """A cluster that archives its write-ahead log, and whose commits wait for a second copy of it."""
        cluster = self.cluster(
            "original",
            archive_mode="on",
            archive_command=f"test ! -f {self.archive}/%f && cp %p {self.archive}/%f",
            wal_level="replica",
        )
        cluster.initialise()
        cluster.start()
        cluster.sql("CREATE DATABASE earmark", "postgres")
        migrate(self.program, cluster)
        cluster.sql(f"SELECT pg_create_physical_replication_slot('{RECEIVER}')", "postgres")
        self.receiver = self.workspace.start(
            "pg_receivewal", "--directory", self.received, "--slot", RECEIVER, "--synchronous",
            "--dbname", f"{cluster.url(database='postgres')}?application_name={RECEIVER}", log="receiver.log",
        )
        cluster.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{RECEIVER}'", "postgres")
        cluster.settings["synchronous_standby_names"] = RECEIVER
        cluster.sql("SELECT pg_reload_conf()", "postgres")
        cluster.wait_for(f"SELECT sync_state = 'sync' FROM pg_stat_replication WHERE application_name = '{RECEIVER}'")
        return cluster

    def restored(self, name: str, **target: str) -> Cluster:
        """A new cluster, of the base backup and the write-ahead log up to the target."""
        restore = " || ".join(
            f'cp {path} "%p"' for path in (f"{self.archive}/%f", f"{self.received}/%f", f"{self.received}/%f.partial")
        )
        cluster = self.cluster(name, restore_command=restore, recovery_target_action="promote", **target)
        shutil.copytree(self.base, cluster.data)
        (cluster.data / "recovery.signal").touch()
        if self.workspace.user:
            for path in (cluster.data, *cluster.data.rglob("*")):
                shutil.chown(path, self.workspace.user.pw_uid, self.workspace.user.pw_gid)
        cluster.data.chmod(0o700)
        begun = time.monotonic()
        cluster.start()
        cluster.wait_for("SELECT NOT pg_is_in_recovery()")
        say(f"{name}: restored in {time.monotonic() - begun:.1f} s")
        if "up to date" not in migrate(self.program, cluster):
            sys.exit(f"check-recovery: {name}: the restored schema is not that of this program")
        say(f"{name}: {verify(self.program, cluster.url())}")
        return cluster


def keys_of(cluster: Cluster) -> set[str]:
    return set(cluster.sql("SELECT client_external_id FROM allocation").splitlines())


def expiring(parties: Parties, stub, count: int) -> list[str]:
    """Reservations that expire while the ledger is down: their ids."""
    until = Timestamp(seconds=int(time.time()) + EXPIRE_SECONDS)
    requests = [parties.request(f"expiring-{number}", expire_time=until) for number in range(count)]
    return [stub.CreateAllocation(request, metadata=parties.client_bearer).allocation.id for request in requests]


def repeat(parties: Parties, stub, written) -> tuple[int, int]:
    """Sends acknowledged writes again with their keys: how many were replays, and how many were applied anew."""
    replayed = 0
    for write in written:
        _, call = stub.CreateAllocation.with_call(parties.request(write.key), metadata=parties.client_bearer)
        replayed += ("earmark-replayed", "true") in [(key, value) for key, value in call.initial_metadata()]
    return replayed, len(written) - replayed


def check_restore_to_a_moment(recovery: Recovery, target: str, parties: Parties, written, moment: float, ids) -> None:
    cluster = recovery.restored("moment", recovery_target_time=target)
    before = {write.key for write in written if write.answered < moment}
    after = {write.key for write in written if write.sent > moment}
    there = keys_of(cluster)
    expect("writes acknowledged before the moment that are missing", len(before - there), 0)
    expect("writes sent after the moment that are there", len(after & there), 0)
    say(f"moment: all {len(before)} writes acknowledged before it are there, none of the {len(after)} sent after it")

    server = recovery.server(cluster, "moment")
    with server.channel() as channel:
        stub = allocation_grpc.AllocationServiceStub(channel)
        replayed, anew = repeat(parties, stub, written)
        say(f"moment: of {len(written)} repeated with their keys, {replayed} were replays, {anew} were applied anew")
        expect("replays of writes before the moment", replayed >= len(before), True)
        expect("new writes of those after the moment", anew >= len(after), True)
        expect("keys", keys_of(cluster) >= {write.key for write in written}, True)
        # Their verdicts were given after the moment, so they are open again; and their time has passed.
        refused = 0
        for id in ids:
            try:
                stub.ClearAllocation(parties.clearing(id), metadata=parties.partner_bearer)
            except grpc.RpcError as error:
                expect("the repeated verdict", error.code(), grpc.StatusCode.FAILED_PRECONDITION)
                refused += 1
        expect("repeated verdicts that were refused", refused, len(ids))
        say(f"moment: {refused} of {len(ids)} verdicts undone by the restore came too late: the reservations had expired")
    expect("the server's exit code", server.stop(), 0)
    say(f"moment: after the repeats: {verify(recovery.program, cluster.url())}")
    cluster.stop()


def check_restore_of_everything(recovery: Recovery, written, ids) -> None:
    cluster = recovery.restored("latest")
    missing = {write.key for write in written} - keys_of(cluster)
    expect("acknowledged writes that are missing", len(missing), 0)
    cleared = cluster.sql("SELECT count(*) FROM allocation WHERE client_external_id LIKE 'expiring-%' AND status = 'CLEARED'")
    expect("verdicts", cleared, str(len(ids)))
    say(f"latest: all {len(written)} acknowledged writes are there")
    cluster.stop()


def check_dump(recovery: Recovery, cluster: Cluster, writers: Writers) -> None:
    """A dump taken under load, restored into another database."""
    before = {write.key for write in writers.written}
    dump = recovery.workspace.folder / "archive" / "earmark.dump"
    recovery.workspace.run("pg_dump", "--format", "custom", "--file", dump, "--dbname", cluster.url())
    cluster.sql("CREATE DATABASE restored", "postgres")
    url = cluster.url(database="restored")
    recovery.workspace.run("pg_restore", "--exit-on-error", "--dbname", url, dump)
    there = set(cluster.sql("SELECT client_external_id FROM allocation", "restored").splitlines())
    expect("writes acknowledged before the dump that are missing", len(before - there), 0)
    say(f"dump: all {len(before)} writes acknowledged before it are there; {verify(recovery.program, url)}")
    dump.unlink()


def check(workspace: Workspace) -> None:
    recovery = Recovery(workspace)
    cluster = recovery.original()
    server = recovery.server(cluster, "original")
    say(cluster.sql("SELECT version()"))
    channels = [server.channel() for _ in range(2)]
    parties = Parties.make(channels[0], recovery.issuer)
    stub = allocation_grpc.AllocationServiceStub(channels[0])
    writers = Writers(channels, parties, CALLERS)
    try:
        writers.wait_for(300)
        workspace.run("pg_basebackup", "--pgdata", recovery.base, "--dbname", cluster.url(), "--checkpoint", "fast")
        say(f"base backup taken under load, after {len(writers.written)} acknowledged writes")
        check_dump(recovery, cluster, writers)
        writers.wait_for(300)
        ids = expiring(parties, stub, 10)
        writers.wait_for(100)
        target, moment = cluster.sql("SELECT now(), extract(epoch FROM now())").split("|")
        writers.wait_for(100)
        for id in ids:
            stub.ClearAllocation(parties.clearing(id), metadata=parties.partner_bearer)
        writers.wait_for(200)
        # The disk is lost in the middle of the load: nothing is flushed or archived any more.
        cluster.stop("immediate")
    finally:
        writers.stop()
        server.process.kill()
        server.process.wait()
        recovery.receiver.terminate()
        recovery.receiver.wait()
    for channel in channels:
        channel.close()
    shutil.rmtree(cluster.data)
    say(f"the cluster is deleted, after {len(writers.written)} acknowledged writes")
    expired = time.time() + EXPIRE_SECONDS
    check_restore_of_everything(recovery, writers.written, ids)
    time.sleep(max(0.0, expired - time.time()))
    check_restore_to_a_moment(recovery, target, parties, writers.written, float(moment), ids)


def main() -> None:
    workspace = Workspace()
    try:
        check(workspace)
    finally:
        workspace.delete()
    say("check-recovery: all held")


if __name__ == "__main__":
    main()
