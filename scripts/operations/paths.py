"""Where things are, and the generated Python client, which importing this module makes importable."""

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
TOOLS = TOP / "target/tools"
GENERATED = TOP / "target/operations/client"


def generate_client() -> None:
    """Generates the client from the protos with grpcio-tools, and puts it and its packages on the path."""
    packages = [TOOLS / "generators/python", TOOLS / "tokens"]
    for package in packages:
        if not package.is_dir():
            sys.exit(f"{package} is missing: run scripts/fetch python-client")
    sys.path[:0] = [str(GENERATED), *map(str, packages)]
    GENERATED.mkdir(parents=True, exist_ok=True)
    protos = sorted(str(path.relative_to(TOP / "proto")) for path in (TOP / "proto").rglob("*.proto"))
    outputs = [f"--python_out={GENERATED}", f"--grpc_python_out={GENERATED}"]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", str(TOP / "proto"), *outputs, *protos],
        check=True,
        env=os.environ | {"PYTHONPATH": str(packages[0])},
    )


# The handlers that gRPC has for fork() crash children which are started while calls are made.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
generate_client()


def earmark_program() -> Path:
    """The server's program: EARMARK_PROGRAM, or the debug build."""
    program = Path(os.environ.get("EARMARK_PROGRAM", TOP / "target/debug/earmark"))
    if not program.is_file():
        sys.exit(f"{program} is missing: run `cargo build --bin earmark`, or set EARMARK_PROGRAM")
    return program
