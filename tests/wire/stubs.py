"""The suite's own stubs, made from tests/wire/protos each time the suite starts.

Nothing here comes from the files the server is built from: if the two disagree about a
package, a name or a number, a test fails.
"""

import importlib.resources
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

_PROTOS = Path(__file__).parent / "protos"


def _generate():
    out = tempfile.TemporaryDirectory(prefix="tollgate-wire-stubs-")
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    status = protoc.main(
        ["protoc", f"-I{_PROTOS}", f"-I{well_known}", f"--python_out={out.name}", f"--grpc_python_out={out.name}"]
        + sorted(path.name for path in _PROTOS.glob("*.proto"))
    )
    if status != 0:
        raise RuntimeError(f"protoc could not compile {_PROTOS}")
    sys.path.insert(0, out.name)
    return out  # the folder lives as long as this module does


_folder = _generate()

import own_descriptor_pb2 as descriptor
import own_health_pb2 as health
import own_health_pb2_grpc as health_grpc
import own_ratelimit_pb2 as ratelimit
import own_ratelimit_pb2_grpc as ratelimit_grpc
import own_reflection_v1_pb2 as reflection_v1
import own_reflection_v1_pb2_grpc as reflection_v1_grpc
import own_reflection_v1alpha_pb2 as reflection_v1alpha
import own_reflection_v1alpha_pb2_grpc as reflection_v1alpha_grpc
import own_type_pb2 as types
