"""Measures what calls cost: bytes of records, write-ahead log, processor time, memory. See docs/sizing.md."""

import statistics
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paths
from load import CURRENCY, Parties, allocation, allocation_grpc, balance, balance_grpc
from postgres import Cluster, Workspace
from server import Issuer, Server, cpu_seconds, cpu_seconds_of_postgres, memory_mib, migrate, verify

import grpc
from earmark.bucket.v1 import bucket_pb2 as bucket
from earmark.bucket.v1 import bucket_pb2_grpc as bucket_grpc

# As in the benchmarks: no checkpoint falls into a measurement unless it is asked for.
SETTINGS = {"max_wal_size": "16GB", "checkpoint_timeout": "30min", "shared_buffers": "1GB"}
CALLERS = 16
SUBMITS, ITEMS = 100, 1000


def say(text: str) -> None:
    print(text, flush=True)


class Measured:
    """What one piece of work has cost, for each of its items."""

    def __init__(self, lab: "Lab", items: int) -> None:
        self.lab, self.items = lab, items

    def _look(self) -> tuple:
        wal, transactions = self.lab.cluster.sql(
            "SELECT pg_current_wal_insert_lsn() - '0/0', pg_snapshot_xmax(pg_current_snapshot())"
        ).split("|")
        postgres = cpu_seconds_of_postgres(self.lab.cluster.pid)
        server = cpu_seconds(self.lab.server.process.pid)
        return time.monotonic(), float(wal), int(transactions), server, postgres

    def __enter__(self) -> "Measured":
        self.sizes = self.lab.sizes()
        self.lab.cluster.sql("CHECKPOINT")
        self.before = self._look()
        return self

    def __exit__(self, failure, *_) -> None:
        if failure is not None:
            return
        changes = [after - before for after, before in zip(self._look(), self.before)]
        seconds, self.wal, transactions, self.server, self.postgres = changes
        self.transactions = max(transactions, 1)
        self.rate = self.items / seconds
        sizes = self.lab.sizes()
        self.bytes = {table: sizes[table] - self.sizes[table] for table in sizes if sizes[table] != self.sizes[table]}

    def costs(self) -> str:
        micros = [round(value / self.items * 1e6) for value in (self.server, self.postgres)]
        written = f"{self.items / self.transactions:.1f} a transaction, WAL {self.wal / self.items:,.0f} bytes, "
        return (
            f"{self.rate:,.0f}/s, {written if self.wal > self.items else ''}"
            f"processor time: server {micros[0]} µs, Postgres {micros[1]} µs"
        )

    def space(self) -> str:
        by_table = ", ".join(f"{table} {round(size / self.items)}" for table, size in sorted(self.bytes.items()))
        return f"{sum(self.bytes.values()) / self.items:,.0f} bytes ({by_table})"


class Lab:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.program = paths.earmark_program()
        self.issuer = Issuer(workspace.folder)
        self.cluster = Cluster(workspace, "cluster", SETTINGS)
        self.cluster.initialise()
        self.cluster.start()
        self.cluster.sql("CREATE DATABASE earmark", "postgres")
        migrate(self.program, self.cluster)
        url = self.cluster.url(Cluster.SERVER)
        self.server = Server(self.program, url, self.issuer, workspace.folder / "serve.log", "--lame-duck", "0s")
        # One channel a connection, so that calls do not queue in the client.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channels = [grpc.insecure_channel(self.server.address, options=options) for _ in range(4)]
        self.parties = Parties.make(self.channels[0], self.issuer)

    def sizes(self) -> dict[str, int]:
        """Bytes of each table with its indexes. Space that can be used again is made known first."""
        self.cluster.sql("VACUUM")
        rows = self.cluster.sql(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        return {name: int(size) for name, size in (row.split("|") for row in rows.splitlines())}

    def run(self, items, call, callers: int = CALLERS) -> list:
        """Makes a call for each item, so many at a time. `call` has a channel and the item."""
        turn = iter(range(sys.maxsize))
        own = threading.local()

        def one(item):
            if not hasattr(own, "channel"):
                own.channel = self.channels[next(turn) % len(self.channels)]
            return call(own.channel, item)

        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(one, items))

    def create(self, channel, key: str):
        stub = allocation_grpc.AllocationServiceStub(channel)
        return stub.CreateAllocation(self.parties.request(key), metadata=self.parties.client_bearer).allocation.id


def records(lab: Lab) -> list[str]:
    """Bytes of each kind of record; the ids of allocations."""
    parties = lab.parties

    def deposit(channel, number: int) -> None:
        request = balance.AdjustBalanceRequest(
            enterprise_id=parties.client, currency=f"C{number}", quantity="1000000", external_id=f"deposit-{number}",
            reason="Opening deposit",
        )
        metadata = lab.issuer.bearer("network-admin")
        balance_grpc.BalanceServiceStub(channel).AdjustBalance(request, metadata=metadata)

    with Measured(lab, 2000) as measured:
        lab.run(range(2000), deposit)
    say(f"first deposit of a currency: {measured.space()}")

    def submit(channel, number: int) -> list[str]:
        request = allocation.SubmitAllocationsRequest(enterprise_id=parties.client)
        for index in range(ITEMS):
            item = request.items.add(
                type=allocation.ALLOCATION_TYPE_ALLOCATION, connection_id=parties.connection,
                client_external_id=f"submitted-{number}-{index}",
            )
            item.amount.currency, item.amount.quantity = CURRENCY, "1"
        stub = allocation_grpc.AllocationServiceStub(channel)
        results = stub.SubmitAllocations(request, metadata=parties.client_bearer).results
        return [result.allocation.id for result in results]

    with Measured(lab, SUBMITS * ITEMS) as measured:
        ids = [id for part in lab.run(range(SUBMITS), submit, callers=2) for id in part]
    say(f"reservation: {measured.space()}")
    say(f"SubmitAllocations of 1,000, each: {measured.costs()}")

    def clear(channel, id: str) -> None:
        stub = allocation_grpc.AllocationServiceStub(channel)
        stub.ClearAllocation(parties.clearing(id), metadata=parties.partner_bearer)

    with Measured(lab, 10000) as measured:
        lab.run(ids[:10000], clear)
    say(f"its clearing: {measured.space()}; {measured.costs()}")
    return ids


def buckets(lab: Lab) -> None:
    metadata = lab.issuer.bearer("buckets-read buckets-write", tenant=str(uuid.uuid4()))

    def create(channel, number: int) -> None:
        request = bucket.CreateBucketRequest(request_id=f"create-{number}")
        request.bucket.id, request.bucket.name = f"bucket-{number}", "Data"
        request.bucket.remaining_value.amount, request.bucket.remaining_value.units = "1000000", "MB"
        bucket_grpc.BucketServiceStub(channel).CreateBucket(request, metadata=metadata)

    def reserve(channel, number: int) -> None:
        request = bucket.ReserveBalanceRequest(bucket_id="bucket-0", request_id=f"reserve-{number}")
        request.amount.amount, request.amount.units = "1", "MB"
        bucket_grpc.BucketServiceStub(channel).ReserveBalance(request, metadata=metadata)

    def deduct(channel, number: int) -> None:
        request = bucket.DeductBalanceRequest(bucket_id="bucket-0", request_id=f"deduct-{number}")
        request.amount.amount, request.amount.units = "1", "MB"
        bucket_grpc.BucketServiceStub(channel).DeductBalance(request, metadata=metadata)

    for what, call, count in [
        ("bucket", create, 2000), ("bucket reservation", reserve, 10000), ("bucket deduction", deduct, 10000)
    ]:
        with Measured(lab, count) as measured:
            lab.run(range(count), call)
        say(f"{what}: {measured.space()}; {measured.costs()}")


def calls(lab: Lab, ids: list[str]) -> None:
    """Processor time and write-ahead log of a write and of a read, at several numbers of callers."""
    for callers, count in [(1, 3000), (8, 8000), (64, 12000)]:
        keys = [f"created-{callers}-{number}" for number in range(count)]
        lab.run([f"warm-{key}" for key in keys[:500]], lab.create, callers)
        with Measured(lab, count) as measured:
            lab.run(keys, lab.create, callers)
        say(f"CreateAllocation, {callers} callers: {measured.costs()}")

    def get(channel, id: str) -> None:
        request = allocation.GetAllocationRequest(enterprise_id=lab.parties.client, allocation_id=id)
        stub = allocation_grpc.AllocationServiceStub(channel)
        stub.GetAllocation(request, metadata=lab.parties.client_bearer)

    for callers, count in [(1, 5000), (64, 12000)]:
        # By a large step, so that neighbours are not read one after another.
        asked = [ids[number * 7919 % len(ids)] for number in range(count)]
        with Measured(lab, count) as measured:
            lab.run(asked, get, callers)
        say(f"GetAllocation, {callers} callers: {measured.costs()}")


def memory(lab: Lab) -> None:
    say(f"memory of the server at most: {memory_mib(lab.server.process.pid):.0f} MiB")
    pids = lab.cluster.sql(f"SELECT pid FROM pg_stat_activity WHERE usename = '{Cluster.SERVER}'").splitlines()
    private = []
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kib = sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))
        private.append(kib / 1024)
    say(
        f"memory of Postgres beside shared_buffers: {statistics.mean(private):.1f} MiB on average for each of"
        f" {len(pids)} sessions, {max(private):.1f} MiB at most"
    )


def main() -> None:
    workspace = Workspace()
    lab = None
    try:
        lab = Lab(workspace)
        say(lab.cluster.sql("SELECT version()"))
        say(str(lab.program))
        ids = records(lab)
        buckets(lab)
        calls(lab, ids)
        memory(lab)
        lab.server.stop()
        say(verify(lab.program, lab.cluster.url()))
    finally:
        if lab:
            lab.server.process.kill()
            lab.cluster.stop("immediate")
        workspace.delete()


if __name__ == "__main__":
    main()
