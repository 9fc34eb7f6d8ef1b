"""Addresses of MariaDB stores."""

import pytest

from callboard.backends.store.sql.mariadb.address import parse_address
from callboard.core.errors import StoreUnavailable, UnknownOption, UsageError

SECRET = "s3cr%40t"  # noqa: S105 - not one


def test_all_parts():
    address = parse_address("mariadb://me:s3cr%40t%2F@db.example:3307/jobs")
    assert (address.host, address.port, address.user, address.password) == ("db.example", 3307, "me", "s3cr@t/")
    assert (address.database, address.ssl_mode) == ("jobs", "preferred")


def test_what_is_left_out():
    address = parse_address("mariadb:///jobs")
    assert (address.host, address.port, address.user, address.password) == ("localhost", 3306, "", "")


def test_a_password_goes_to_the_driver_as_it_is_and_is_shown_nowhere():
    address = parse_address("mariadb://me:p%C3%A4ss%F0%9F%9A%80@h/jobs")
    assert address.arguments()["password"] == "päss\U0001f680".encode()
    assert "ss" not in f"{address!r} {address.name} {address}".replace("Address", "")


@pytest.mark.parametrize("url", [
    f"mariadb://me:{SECRET}@h", f"mariadb://me:{SECRET}@h/", f"mariadb://me:{SECRET}@h/a/b", f"mysql://me:{SECRET}@h/a",
    f"mariadb://me:{SECRET}@h:99999/a", f"mariadb://me:{SECRET}@h:x/a", f"mariadb://me:{SECRET}@[::1/a",
    f"mariadb://me:{SECRET}@h/a#b", f"mariadb://me:{SECRET}@h/{'a' * 65}", f"mariadb://me:{SECRET}@h/a?ssl_ca=",
    f"mariadb://me:{SECRET}@h/a?ssl", f"mariadb://me:{SECRET}@h/a?ssl_mode=on",
    f"mariadb://me:{SECRET}@h/a?ssl_mode=verify_ca", f"mariadb://me:{SECRET}@h/a?ssl_key=k",
    f"mariadb://me:{SECRET}@h/a?ssl_mode=disabled&ssl_ca=f", f"mariadb://me:{SECRET}@h/a?ssl_cert=c",
])
def test_what_is_no_address_is_refused_without_showing_the_password(url):
    with pytest.raises(UsageError) as caught:
        parse_address(url)
    assert "s3cr" not in str(caught.value)


def test_an_unknown_option_is_named():
    with pytest.raises(UnknownOption, match="ssl_ca"):
        parse_address("mariadb://h/a?ssl_cs=x")


def test_a_socket_goes_before_a_host():
    address = parse_address("mariadb://me@h/jobs?socket=/run/mysqld/mysqld.sock")
    assert address.arguments()["unix_socket"] == "/run/mysqld/mysqld.sock"
    assert "host" not in address.arguments()
    assert address.name == "mariadb://me@/run/mysqld/mysqld.sock/jobs"


def test_an_authority_makes_the_server_prove_its_name(tmp_path):
    address = parse_address(f"mariadb://h/jobs?ssl_ca={tmp_path}/none.pem")
    assert address.ssl_mode == "verify_identity"
    with pytest.raises(StoreUnavailable, match="certificates"):
        address.arguments()


@pytest.mark.parametrize(("mode", "key", "hostname", "verify"), [
    ("required", "ssl", False, 0), ("disabled", "ssl_disabled", None, None), ("preferred", None, None, None)])
def test_modes(mode, key, hostname, verify):
    arguments = parse_address(f"mariadb://h/jobs?ssl_mode={mode}").arguments()
    assert {one for one in arguments if one.startswith("ssl")} == ({key} if key else set())
    if key == "ssl":
        assert (arguments["ssl"].check_hostname, int(arguments["ssl"].verify_mode)) == (hostname, verify)


def test_ipv6():
    assert parse_address("mariadb://[::1]:3307/jobs").name == "mariadb://@[::1]:3307/jobs"
