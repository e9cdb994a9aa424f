"""What the REST service is told by its environment."""

from pathlib import Path
from typing import Annotated

from book_db.settings import StoreSettings
from book_runtime.settings import ExistingFile, Port
from pydantic import AfterValidator, Field

from rest_api.client_address import Networks
from rest_api.cross_origin import Origins
from rest_api.process_settings import ProcessSettings
from rest_api.users.keys import load_private_keys
from rest_api.users.settings import AccountSettings


def _holds_a_private_key(path: Path) -> Path:
    load_private_keys(path.read_bytes())
    return path


class RestSettings(StoreSettings, AccountSettings, ProcessSettings):
    """The REST service."""

    jwt_private_key_file: Annotated[ExistingFile, AfterValidator(_holds_a_private_key)]
    """The PEM file of the key that signs access tokens; `rest-api setup` makes one."""

    rest_host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 takes calls from everywhere."""

    rest_port: Port = 8000
    """The TCP port to listen on."""

    rest_share_port: bool = False
    """Whether other processes of this service may listen on the same port; Linux divides the connections among them."""

    max_body_bytes: Annotated[int, Field(ge=1_024)] = 8 * 2**20
    """The longest request body that is read."""

    max_import_bytes: Annotated[int, Field(ge=1_024)] = 2**30
    """The longest upload of books that is read, which is never in memory as a whole."""

    max_imports: Annotated[int, Field(ge=1, le=100)] = 8
    """How many imports may run at a time; of one user, half of them."""

    max_exports: Annotated[int, Field(ge=1, le=100)] = 4
    """How many exports may run at once; of one user, half of them. Each has a connection to the database of its own."""

    require_if_match: bool = False
    """Whether a book is changed or deleted only with If-Match, which says what version of it was seen."""

    trusted_proxies: Networks = ""
    """The proxies in front of this service, whose word for the address of a client is taken; without any, no one's."""

    cors_origins: Origins = ""
    """The other sites whose pages may call this service; without any, none may."""

    header_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    """How long a client may take to send the headers of a request. In that time, as many KiB of its body must come."""

    drain_seconds: Annotated[int, Field(ge=0)] = 10
    """How long requests that are running may take to finish when the service is told to stop."""

    access_log: bool = False
    """Whether each request is logged."""
