"""A MariaDB that speaks TLS alone."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import servers
import trustme
from mariadbkit import at, job

from callboard.backends.store.sql import open_mariadb
from callboard.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def tls() -> Iterator[tuple[str, Path]]:
    """The server's address and the folder with the certificates."""
    authority, stranger = trustme.CA(), trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    settings: dict[str, str] = {"require_secure_transport": "ON"}
    server = servers.mariadb(settings=settings)
    files = {"ca.pem": authority.cert_pem, "other.pem": stranger.cert_pem, "server.pem": own.cert_chain_pems[0],
             "server.key": own.private_key_pem}
    for name, pem in files.items():
        server.write(name, pem.bytes().decode())
    settings.update(ssl_cert=str(server.folder / "server.pem"), ssl_key=str(server.folder / "server.key"))
    with server:
        yield server.url, server.folder


def cipher(url: str) -> str:
    """What the store's connection is encrypted with, once a job went over it."""
    with closing(open_mariadb(url)) as store:
        store.push([job("a")])
        with store._database.read() as (connection, _):
            return str(connection.run("SHOW STATUS LIKE 'Ssl_cipher'").fetchone()[1])


def test_a_server_that_is_who_it_should_be(tls: tuple[str, Path]):
    url, folder = tls
    assert cipher(f"{url}?ssl_ca={folder}/ca.pem")
    assert cipher(f"{url}?ssl_ca={folder}/ca.pem&ssl_mode=verify_ca")
    assert cipher(f"{url}?ssl_mode=required")
    assert cipher(url)


def test_a_server_that_somebody_else_vouches_for_is_refused(tls: tuple[str, Path]):
    url, folder = tls
    with pytest.raises(StoreUnavailable, match="certificate"):
        open_mariadb(f"{url}?ssl_ca={folder}/other.pem")


def test_a_server_of_another_name_is_refused(tls: tuple[str, Path]):
    url, folder = tls
    elsewhere = at(url, "localhost", int(url.rpartition("@")[2].partition("/")[0].rpartition(":")[2]))
    with pytest.raises(StoreUnavailable, match="certificate"):
        open_mariadb(f"{elsewhere}?ssl_ca={folder}/ca.pem")
    assert cipher(f"{elsewhere}?ssl_ca={folder}/ca.pem&ssl_mode=verify_ca")


def test_without_encryption_there_is_no_way_in(tls: tuple[str, Path]):
    url, _ = tls
    with pytest.raises(StoreUnavailable):
        open_mariadb(f"{url}?ssl_mode=disabled")


def test_a_server_without_tls_is_refused_where_it_is_required():
    with servers.mariadb() as plain, pytest.raises(StoreUnavailable, match="encrypted"):
        open_mariadb(f"{plain.url}?ssl_mode=required")
