"""Records to work on, and callers that write and note what was acknowledged."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import paths
from server import Issuer

import grpc
from earmark.allocation.v1 import allocation_pb2 as allocation
from earmark.allocation.v1 import allocation_pb2_grpc as allocation_grpc
from earmark.balance.v1 import balance_pb2 as balance
from earmark.balance.v1 import balance_pb2_grpc as balance_grpc
from earmark.network.v1 import network_pb2 as network
from earmark.network.v1 import network_pb2_grpc as network_grpc

CURRENCY = "BTC"
MEMBER = "settlement_network_read settlement_network_write"


@dataclass
class Parties:
    """A client with a deposit, a partner, and a connection between them."""

    client: str
    partner: str
    connection: str
    client_bearer: list
    partner_bearer: list

    @classmethod
    def make(cls, channel: grpc.Channel, issuer: Issuer, currencies: tuple[str, ...] = (CURRENCY,)) -> "Parties":
        stub = network_grpc.NetworkServiceStub(channel)
        admin = issuer.bearer("network-admin")

        def enterprise(name: str) -> str:
            request = network.CreateEnterpriseRequest(name=name, oes_licensed=True)
            return stub.CreateEnterprise(request, metadata=admin).enterprise.id

        acme, venue = enterprise("Acme"), enterprise("Harbour")
        client = stub.CreateClient(network.CreateClientRequest(enterprise_id=acme, name="Treasury"), metadata=admin)
        partner = stub.CreatePartner(
            network.CreatePartnerRequest(
                enterprise_id=venue, name="Harbour Spot", institution_identifier=f"HARBOUR-{uuid.uuid4()}"
            ),
            metadata=admin,
        )
        connection = stub.CreateConnection(
            network.CreateConnectionRequest(
                client_id=client.client.id, partner_id=partner.partner.id, name="Acme at Harbour",
                mode=network.CONNECTION_MODE_CONFIRMED,
            ),
            metadata=admin,
        )
        for currency in currencies:
            deposit = balance.AdjustBalanceRequest(
                enterprise_id=acme, currency=currency, quantity="1" + "0" * 15, external_id=f"deposit-{currency}",
                reason="Opening deposit",
            )
            balance_grpc.BalanceServiceStub(channel).AdjustBalance(deposit, metadata=admin)
        bearers = (issuer.bearer(MEMBER, enterprises=[id]) for id in (acme, venue))
        return cls(acme, venue, connection.connection.id, *bearers)

    def request(self, key: str, **fields) -> allocation.CreateAllocationRequest:
        """CreateAllocation of 1."""
        request = allocation.CreateAllocationRequest(
            enterprise_id=self.client, connection_id=self.connection, client_external_id=key, **fields
        )
        request.amount.currency, request.amount.quantity = CURRENCY, "1"
        return request

    def clearing(self, id: str) -> allocation.ClearAllocationRequest:
        return allocation.ClearAllocationRequest(
            enterprise_id=self.partner, connection_id=self.connection, allocation_id=id
        )


@dataclass
class Written:
    """A write that was acknowledged, with the times at which it was sent and answered."""

    key: str
    id: str
    sent: float
    answered: float


@dataclass
class Writers:
    """Threads that create allocations one after another, until they are stopped.

    `then` is called with the stub and the answer of each, and may make further calls.
    """

    channels: list[grpc.Channel]
    parties: Parties
    callers: int
    then: Callable = lambda stub, answer: None
    written: list[Written] = field(default_factory=list)
    failed: list[tuple[float, grpc.RpcError]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(self.callers)]
        for thread in self._threads:
            thread.start()

    def _run(self, index: int) -> None:
        stub = allocation_grpc.AllocationServiceStub(self.channels[index % len(self.channels)])
        while not self._stopping.is_set():
            key = f"load-{next(self._numbers)}"
            sent = time.time()
            try:
                answer = stub.CreateAllocation(
                    self.parties.request(key), metadata=self.parties.client_bearer, timeout=20
                )
            except grpc.RpcError as error:
                self.failed.append((time.time(), error))
                # A server that is gone is not asked as fast as the machine can.
                self._stopping.wait(0.05)
                continue
            self.written.append(Written(key, answer.allocation.id, sent, time.time()))
            try:
                self.then(stub, answer)
            except grpc.RpcError as error:
                self.failed.append((time.time(), error))

    def wait_for(self, more: int, seconds: int = 120) -> None:
        """Until so many more writes were acknowledged."""
        goal, end = len(self.written) + more, time.monotonic() + seconds
        while len(self.written) < goal:
            if time.monotonic() > end:
                raise RuntimeError(f"{goal - len(self.written)} of {more} writes are missing after {seconds} s")
            time.sleep(0.05)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
