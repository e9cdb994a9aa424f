"""TLS and mutual TLS, tried with real clients, and with certificates that are renewed under the running service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from book_db.book import Book
from book_db.store import Store
from book_runtime.broker.local import LocalBroker
from book_runtime.certificates import CertificateFiles
from books.v1.book_service_pb2 import GetBookRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from grpc_api.application import serving
from grpc_api.tls import Tls
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.ports import free_port
from support.waiting import PATIENCE

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

NEXT_YEAR = datetime(2028, 1, 2, tzinfo=UTC)
IN_TWO_YEARS = NEXT_YEAR + timedelta(days=365)


class Authority:
    """Signs certificates."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self.pem = self._ca.cert_pem.bytes()

    def certify(self, name: str, expires: datetime = NEXT_YEAR) -> trustme.LeafCert:
        return self._ca.issue_cert(name, not_after=expires)


class Mounted:
    """A folder as Kubernetes mounts a secret: all files change at once, by a link to another folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions = 0
        self.certificate, self.key, self.ca = (folder / name for name in ("tls.crt", "tls.key", "ca.crt"))
        for path in (self.certificate, self.key, self.ca):
            path.symlink_to(Path("..data") / path.name)

    def put(self, certificate: trustme.LeafCert, *, key: bytes | None = None, ca: bytes = b"") -> None:
        """What the files hold from now on; ``key`` stands for another one than the certificate's own."""
        self._versions += 1
        version = self._folder / f"..{self._versions}"
        version.mkdir()
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        contents = {"tls.crt": chain, "tls.key": key or certificate.private_key_pem.bytes(), "ca.crt": ca}
        for name, content in contents.items():
            (version / name).write_bytes(content)
        link = self._folder / "..new"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")

    def files(self, *, mutual: bool = False) -> CertificateFiles:
        return CertificateFiles(self.certificate, self.key, self.ca if mutual else None)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority()


@pytest.fixture
def mounted(tmp_path: Path, authority: Authority) -> Mounted:
    """A good certificate for localhost, and the authority of clients."""
    folder = tmp_path / "secret"
    folder.mkdir()
    mounted = Mounted(folder)
    mounted.put(authority.certify("localhost"), ca=authority.pem)
    return mounted


@pytest.fixture
async def port(store: Store, mounted: Mounted) -> AsyncIterator[int]:
    """Where a server answers that shows a certificate and wants none."""
    async with encrypted(store, mounted.files()) as port:
        yield port


@pytest.fixture
async def mutual_port(store: Store, mounted: Mounted) -> AsyncIterator[int]:
    """Where a server answers that wants a certificate too."""
    async with encrypted(store, mounted.files(mutual=True)) as port:
        yield port


@asynccontextmanager
async def encrypted(store: Store, files: CertificateFiles) -> AsyncIterator[int]:
    async with serving(
        store, LocalBroker(), host="127.0.0.1", port=0, tls=Tls(files), authenticate=False, drain_seconds=0
    ) as port:
        yield port


@asynccontextmanager
async def connected(
    port: int, trusted: Authority, certificate: trustme.LeafCert | None = None
) -> AsyncIterator["BookServiceAsyncStub"]:
    """A stub on a connection of its own, by somebody who trusts an authority and perhaps shows a certificate."""
    key, chain = None, None
    if certificate is not None:
        key, chain = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
    credentials = grpc.ssl_channel_credentials(trusted.pem, key, chain)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options) as channel:
        yield BookServiceStub(channel)


async def is_answered(port: int, trusted: Authority, certificate: trustme.LeafCert | None = None) -> bool:
    """Whether somebody who comes anew gets through."""
    async with connected(port, trusted, certificate) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetBook(GetBookRequest(id=99), timeout=PATIENCE)
        assert error.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND}
        return error.value.code() is grpc.StatusCode.NOT_FOUND


def expiry(mounted: Mounted) -> datetime:
    """What the metrics say."""
    name = "colophon_grpc_certificate_expires_timestamp_seconds"
    seconds = REGISTRY.get_sample_value(name, {"file": str(mounted.certificate)})
    assert seconds is not None
    return datetime.fromtimestamp(seconds, UTC)


class TestTls:
    async def test_who_trusts_the_authority_is_answered(self, port: int, authority: Authority, book: Book) -> None:
        async with connected(port, authority) as stub:
            assert (await stub.GetBook(GetBookRequest(id=book.id))).book.title == book.title

    async def test_who_trusts_another_one_goes_away(self, port: int, stranger: Authority) -> None:
        assert not await is_answered(port, stranger)

    async def test_who_speaks_no_tls_is_not_heard(self, port: int) -> None:
        async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.GetBook(GetBookRequest(id=1), timeout=PATIENCE)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE


class TestMutualTls:
    async def test_a_client_with_a_certificate_of_the_authority_is_answered(
        self, mutual_port: int, authority: Authority
    ) -> None:
        assert await is_answered(mutual_port, authority, authority.certify("orders"))

    async def test_a_client_without_one_is_not(self, mutual_port: int, authority: Authority) -> None:
        assert not await is_answered(mutual_port, authority)

    async def test_a_client_with_one_of_somebody_else_is_not(
        self, mutual_port: int, authority: Authority, stranger: Authority
    ) -> None:
        assert not await is_answered(mutual_port, authority, stranger.certify("orders"))

    async def test_a_new_authority_of_clients_counts_from_the_next_connection_on(
        self, mutual_port: int, authority: Authority, stranger: Authority, mounted: Mounted
    ) -> None:
        mounted.put(authority.certify("localhost"), ca=stranger.pem)
        assert await is_answered(mutual_port, authority, stranger.certify("orders"))
        assert not await is_answered(mutual_port, authority, authority.certify("orders"))


class TestARenewal:
    async def test_is_what_new_connections_see_and_old_ones_go_on(
        self, port: int, authority: Authority, stranger: Authority, mounted: Mounted, book: Book
    ) -> None:
        async with connected(port, authority) as stub:
            await stub.GetBook(GetBookRequest(id=book.id))
            mounted.put(stranger.certify("localhost"))
            assert await is_answered(port, stranger)
            assert not await is_answered(port, authority)
            assert (await stub.GetBook(GetBookRequest(id=book.id))).book.id == book.id

    async def test_is_told_with_the_day_it_is_good_until(
        self, port: int, authority: Authority, mounted: Mounted
    ) -> None:
        assert expiry(mounted) == NEXT_YEAR
        mounted.put(authority.certify("localhost", IN_TWO_YEARS))
        with capture_logs() as logs:
            assert await is_answered(port, authority)
        assert [line for line in logs if "certificate" in line["event"]] == [
            {"event": "took a new certificate", "log_level": "info", "expires": IN_TWO_YEARS.isoformat()}
        ]
        assert expiry(mounted) == IN_TWO_YEARS


def write_half(mounted: Mounted, certificate: trustme.LeafCert) -> None:
    mounted.put(certificate, key=certificate.private_key_pem.bytes()[:100])


def forget_the_key(mounted: Mounted, certificate: trustme.LeafCert) -> None:
    mounted.put(certificate)
    mounted.key.unlink()


def mix(mounted: Mounted, certificate: trustme.LeafCert) -> None:
    mounted.put(certificate, key=Authority().certify("localhost").private_key_pem.bytes())


class TestABrokenRenewal:
    @pytest.mark.parametrize(
        ("breaking", "cause"),
        [
            pytest.param(write_half, "there is no private key in PEM", id="half-written"),
            pytest.param(forget_the_key, "No such file", id="missing"),
            pytest.param(mix, "the key does not fit the certificate", id="mixed-up"),
        ],
    )
    async def test_leaves_the_old_one_in_use_and_is_told_once(
        self, port: int, authority: Authority, stranger: Authority, mounted: Mounted, breaking: Any, cause: str
    ) -> None:
        breaking(mounted, stranger.certify("localhost"))
        with capture_logs() as logs:
            for _ in range(3):
                assert await is_answered(port, authority)
        [line] = [line for line in logs if "certificate" in line["event"]]
        said = "outage of the certificate's files: the one before stays in use"
        assert (line["event"], line["log_level"]) == (said, "warning")
        assert cause in line["reason"]
        assert expiry(mounted) == NEXT_YEAR

    async def test_is_forgotten_when_it_is_mended(
        self, port: int, authority: Authority, stranger: Authority, mounted: Mounted
    ) -> None:
        mix(mounted, stranger.certify("localhost"))
        assert await is_answered(port, authority)
        mounted.put(stranger.certify("localhost"))
        assert await is_answered(port, stranger)


class TestHealthBesideTls:
    async def test_is_told_in_plain_on_a_port_of_its_own_and_nothing_else_is(
        self, store: Store, mounted: Mounted
    ) -> None:
        health_port = free_port()
        async with (
            serving(
                store,
                LocalBroker(),
                host="127.0.0.1",
                port=0,
                health_port=health_port,
                tls=Tls(mounted.files(mutual=True)),
            ),
            grpc.aio.insecure_channel(f"127.0.0.1:{health_port}") as channel,
        ):
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
            )
            assert (await check(HealthCheckRequest())).status
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.GetBook(GetBookRequest(id=1))
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
