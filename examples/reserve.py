"""A client that reserves value for a partner, retries with the same key, and reads the error of a refusal.

With `make dev` in another terminal, in the repository's top folder:

    make check-real     # generates the Python client into target/generated/python
    PYTHONPATH=target/generated/python:target/tools/generators/python python3 examples/reserve.py

An application of your own generates the client by `python3 -m grpc_tools.protoc` (package grpcio-tools), and needs the
packages grpcio, grpcio-status and protobuf. A retry sends the same message again: its `client_external_id` is the
idempotency key.
"""

import os
import subprocess
import time
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from earmark.allocation.v1 import allocation_pb2, allocation_pb2_grpc
from earmark.balance.v1 import balance_pb2, balance_pb2_grpc
from earmark.network.v1 import network_pb2, network_pb2_grpc

ADDRESS = os.environ.get("EARMARK_ADDRESS", "127.0.0.1:50051")
RETRIABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}


def token(*arguments: str) -> list[tuple[str, str]]:
    """The metadata of a call by a bearer that the development server trusts."""
    made = subprocess.run(["target/debug/earmark", "token", *arguments], check=True, capture_output=True, text=True)
    return [("authorization", f"Bearer {made.stdout.strip()}")]


def call(method, request, metadata, tries: int = 5):
    """Sends a write until it is known what became of it."""
    for attempt in range(tries):
        try:
            return method(request, metadata=metadata, timeout=5)
        except grpc.RpcError as error:
            if error.code() not in RETRIABLE or attempt == tries - 1:
                raise
            time.sleep(0.5 * 2**attempt)


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """What programs read of an error: `reason` is one of a closed list, `metadata` has the numbers."""
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        if detail.Unpack(info):
            break
    return info


def main() -> None:
    channel = grpc.insecure_channel(ADDRESS)
    network = network_pb2_grpc.NetworkServiceStub(channel)
    balances = balance_pb2_grpc.BalanceServiceStub(channel)
    allocations = allocation_pb2_grpc.AllocationServiceStub(channel)

    admin = token("--scope", "network-admin")
    acme = network.CreateEnterprise(
        network_pb2.CreateEnterpriseRequest(name="Acme", oes_licensed=True), metadata=admin
    ).enterprise
    client = network.CreateClient(
        network_pb2.CreateClientRequest(enterprise_id=acme.id, name="Treasury"), metadata=admin
    ).client
    venue = network.CreateEnterprise(
        network_pb2.CreateEnterpriseRequest(name="Harbour", oes_licensed=True), metadata=admin
    ).enterprise
    partner = network.CreatePartner(
        network_pb2.CreatePartnerRequest(enterprise_id=venue.id, name="Spot", institution_identifier="HARBOUR"),
        metadata=admin,
    ).partner
    connection = network.CreateConnection(
        network_pb2.CreateConnectionRequest(
            client_id=client.id,
            partner_id=partner.id,
            name="Acme at Harbour",
            mode=network_pb2.CONNECTION_MODE_CONFIRMED,
        ),
        metadata=admin,
    ).connection
    deposit = balance_pb2.AdjustBalanceRequest(
        enterprise_id=acme.id, currency="BTC", quantity="500", external_id=str(uuid.uuid4()), reason="Opening deposit"
    )
    call(balances.AdjustBalance, deposit, admin)

    member = token("--scope", "settlement_network_read settlement_network_write", "--enterprise", acme.id)
    order = allocation_pb2.CreateAllocationRequest(
        enterprise_id=acme.id, connection_id=connection.id, client_external_id="order-1"
    )
    order.amount.currency, order.amount.quantity = "BTC", "120"
    first = call(allocations.CreateAllocation, order, member)
    again = call(allocations.CreateAllocation, order, member)
    print("reserved", first.allocation.amount.quantity, "available", first.custody_balance.available)
    print("the same record again:", first.allocation.id == again.allocation.id)

    order.client_external_id, order.amount.quantity = "order-2", "900"
    try:
        call(allocations.CreateAllocation, order, member)
    except grpc.RpcError as error:
        info = error_info(error)
        print("refused:", info.reason, "requested", info.metadata["requested"], "available", info.metadata["available"])


if __name__ == "__main__":
    main()
