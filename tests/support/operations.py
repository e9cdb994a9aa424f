"""The operations of the REST service, as its OpenAPI document lists them: what is claimed of all shall miss none."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Operation(NamedTuple):
    """One of them."""

    method: str
    path: str
    id: str
    document: Mapping[str, Any]

    @property
    def path_parameters(self) -> list[str]:
        return [each["name"] for each in self.parameters if each["in"] == "path"]

    @property
    def parameters(self) -> list[Mapping[str, Any]]:
        return list(self.document.get("parameters", []))

    @property
    def is_open(self) -> bool:
        """Whether strangers may call it."""
        return "security" not in self.document

    def is_open_to(self, scheme: str) -> bool:
        return any(scheme in way for way in self.document.get("security", []))

    def address(self, **parameters: object) -> str:
        """Where it is called with these parameters in its path; those that are not named are 1."""
        return self.path.format(**dict.fromkeys(self.path_parameters, 1) | parameters)


def operations_of(document: Mapping[str, Any]) -> Iterator[Operation]:
    """All of them."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield Operation(method.upper(), path, operation["operationId"], operation)
