"""A protoc plugin: betterproto2's own, whose messages are made into those of book_contracts.strict.

Speaks the plugin protocol: a CodeGeneratorRequest on standard input, a CodeGeneratorResponse on standard output.
"""

import sys

from betterproto2_compiler.lib.google.protobuf.compiler import CodeGeneratorRequest, CodeGeneratorResponse
from betterproto2_compiler.plugin.parser import generate_code


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    response = generate_code(request)
    for file in response.file:
        file.content = _made_strict(file.content or "")
    return response


def _made_strict(code: str) -> str:
    """The plugin has no option for the class that messages are made of."""
    strict = code.replace("(betterproto2.Message):", "(Message):")
    if strict == code:
        return code
    return strict.replace(
        "import betterproto2\n", "import betterproto2\nfrom book_contracts.strict import Message\n", 1
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(bytes(generate(CodeGeneratorRequest.parse(sys.stdin.buffer.read()))))
