"""A protoc plugin for grpc_python, which grpcio-tools has only inside its protoc: buf calls this, this calls that.

Speaks the plugin protocol: a CodeGeneratorRequest on standard input, a CodeGeneratorResponse on standard output.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]  # ships no types


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    with tempfile.TemporaryDirectory() as folder:
        descriptors, out = Path(folder, "descriptors.binpb"), Path(folder, "out")
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        out.mkdir()
        # protoc writes an empty file for a proto without a service
        with_service = [proto.name for proto in request.proto_file if proto.service]
        wanted = [name for name in request.file_to_generate if name in with_service]
        if wanted and protoc.main(
            ["protoc", f"--descriptor_set_in={descriptors}", f"--grpc_python_out={out}", *wanted]
        ):
            return CodeGeneratorResponse(error="grpc_tools.protoc failed: see above")
        return CodeGeneratorResponse(
            supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL,
            file=[
                CodeGeneratorResponse.File(name=str(path.relative_to(out)), content=path.read_text())
                for path in sorted(out.rglob("*.py"))
            ],
        )


if __name__ == "__main__":
    sys.stdout.buffer.write(generate(CodeGeneratorRequest.FromString(sys.stdin.buffer.read())).SerializeToString())
