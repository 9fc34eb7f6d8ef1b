"""Settings: flags over variables over files over defaults; wrong ones are named; secrets where nobody else looks."""

from __future__ import annotations

import pytest

from callboard.config import SETTINGS, Config
from callboard.config_file import has_secret
from callboard.core.errors import InvalidArgument, UnknownOption, UsageError
from callboard.core.records import Backoff, QueueShare

URL = "postgresql://user:hunter2@host/jobs"


def config(folder, flags=None, toml=None, pyproject=None, **environ):
    """A Config of this folder; `environ` without the prefix."""
    if toml is not None:
        (folder / "callboard.toml").write_text(toml)
    if pyproject is not None:
        (folder / "pyproject.toml").write_text(pyproject)
    return Config(flags or {}, {f"CALLBOARD_{name.upper()}": value for name, value in environ.items()}, folder)


def test_each_source_is_stronger_than_the_next(tmp_path):
    toml = 'store = "sqlite:///file.db"\nlog_level = "error"\nlease_ttl = 7'
    found = config(tmp_path, {"store": "sqlite:///flag.db", "log_level": None}, toml, store="sqlite:///var.db",
                   log_level="debug")
    assert (found.store, found.source("store")) == ("sqlite:///flag.db", "--store")
    assert (found.get("log_level"), found.source("log_level")) == ("debug", "CALLBOARD_LOG_LEVEL")
    assert (found.get("lease_ttl"), found.source("lease_ttl")) == (7.0, "callboard.toml")
    assert (found.get("executor"), found.source("executor")) == (None, "default")


def test_an_empty_variable_and_an_empty_flag_say_nothing(tmp_path):
    found = config(tmp_path, {"app": (), "store": None}, 'app = ["a", "b"]', store="")
    assert found.get("app") == ("a", "b")
    assert found.store == "sqlite:///callboard.db"


def test_pyproject_has_a_table_of_ours(tmp_path):
    found = config(tmp_path, pyproject='[tool.callboard]\nqueues = ["emails:3"]\n[tool.other]\nx = 1')
    assert found.get("queues") == ("emails:3",)
    assert found.source("queues") == "pyproject.toml [tool.callboard]"
    assert config(tmp_path, pyproject="[project]\nname = 'x'").get("queues") is None


def test_two_files_with_settings_are_one_too_many(tmp_path):
    with pytest.raises(InvalidArgument, match="keep one of them"):
        config(tmp_path, toml="lease_ttl = 1", pyproject="[tool.callboard]\nlease_ttl = 2")


@pytest.mark.parametrize(("toml", "said"), [
    ("lese_ttl = 1", r"callboard.toml has an unknown setting 'lese_ttl' \(did you mean 'lease_ttl'\?\)"),
    ("lease_ttl = 'soon'", "lease_ttl in callboard.toml must be a number, not 'soon'"),
    ("lease_ttl = true", "must be a number"),
    ("lease_ttl = nan", "must be a number"),
    ("timeout = 0", "must be more than 0"),
    ("store = 5", "store in callboard.toml must be a text"),
    ("app = [1]", "must be a list of texts"),
    ("executor = 'proces'", r"did you mean 'process'\?"),
    ("max_attempts = 1.5", "must be a whole number"),
    ("recycle_jobs = 0", "must be a whole number"),
    ("store = [", "callboard.toml can't be read"),
    ("[lease_ttl]\nx = 1", "must be a number"),
])
def test_a_wrong_file_says_what_is_wrong(toml, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        config(tmp_path, toml=toml)


def test_files_that_are_no_settings_are_refused(tmp_path):
    (tmp_path / "callboard.toml").mkdir()
    with pytest.raises(InvalidArgument, match="can't be read"):
        config(tmp_path)
    (tmp_path / "callboard.toml").rmdir()
    (tmp_path / "callboard.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(InvalidArgument, match="longer than"):
        config(tmp_path)
    (tmp_path / "callboard.toml").write_bytes(b"store = '\xff'")
    with pytest.raises(InvalidArgument, match="can't be read"):
        config(tmp_path)
    (tmp_path / "callboard.toml").unlink()
    with pytest.raises(InvalidArgument, match="must be a table"):
        config(tmp_path, pyproject="[tool]\ncallboard = 1")


def test_a_variable_of_the_wrong_type_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match="CALLBOARD_SESSION_TTL must be a number, not 'x'"):
        config(tmp_path, session_ttl="x")


def test_unknown_variables_are_told_with_what_was_meant(tmp_path):
    assert config(tmp_path, stoer="x", store="sqlite:///a.db", debug="1").unknown_variables() == [
        "CALLBOARD_STOER (did you mean 'CALLBOARD_STORE'?)"]


def test_a_node_gets_its_settings(tmp_path):
    found = config(tmp_path, {"app": ("jobs",), "queues": ("emails:3", "a=2,b:4"), "timeout": "9", "max_attempts": "7",
                              "retry_after": "1.5", "log_format": "json", "recycle_rss_mb": "64"}).node_settings()
    assert found.app == ("jobs",)
    assert [(pool.name, pool.slots) for pool in found.pools] == [("emails", 3), ("a", 4)]
    assert found.pools[1].queues == (QueueShare("a", 2), QueueShare("b", 1))
    assert {(pool.timeout_s, pool.max_attempts, pool.backoff) for pool in found.pools} == {(9.0, 7, Backoff(1.5))}
    assert (found.log_style, found.recycle_rss_mb, found.recycle_jobs) == ("json", 64, None)


def test_a_node_without_an_app_is_told_how(tmp_path):
    with pytest.raises(InvalidArgument, match="callboard node --app"):
        config(tmp_path).node_settings()


@pytest.mark.parametrize("url", [URL, "redis://:pw@h", "redis://h/0?password=pw", "mariadb://h/x?a=1&passwd=y"])
def test_a_password_in_a_flag_is_refused_and_not_repeated(url, tmp_path):
    with pytest.raises(InvalidArgument, match="--store carries a password") as caught:
        config(tmp_path, {"store": url})
    assert "pw" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite:///a.db", "redis://h", "postgresql://user@h/db", "http://[bad", "x"])
def test_addresses_without_a_password_are_none(url):
    assert not has_secret(url)


def test_a_password_in_a_variable_is_fine_and_in_a_file_only_if_it_is_private(tmp_path):
    assert config(tmp_path, store=URL).store == URL
    with pytest.raises(InvalidArgument, match="can be read by others: chmod 600"):
        config(tmp_path, toml=f'store = "{URL}"')
    (tmp_path / "callboard.toml").chmod(0o600)
    assert config(tmp_path).store == URL


def test_an_address_from_a_file_of_its_own(tmp_path):
    secret = tmp_path / "store.url"
    secret.write_text(f"{URL}\n")
    with pytest.raises(InvalidArgument, match="can be read by others: chmod 600"):
        config(tmp_path, store_file=str(secret))
    secret.chmod(0o600)
    found = config(tmp_path, store_file=str(secret))
    assert found.store == URL
    assert "CALLBOARD_STORE_FILE" in found.source("store")
    secret.write_text("a\nb")
    with pytest.raises(InvalidArgument, match="must hold one line"):
        config(tmp_path, store_file=str(secret))
    with pytest.raises(InvalidArgument, match="can't be read"):
        config(tmp_path, store_file=str(tmp_path / "none"))


def test_the_stronger_source_decides_between_an_address_and_its_file(tmp_path):
    secret = tmp_path / "store.url"
    secret.write_text(URL)
    secret.chmod(0o600)
    toml = f'store_file = "{secret}"'
    assert config(tmp_path, {"store": "sqlite:///flag.db"}, toml).store == "sqlite:///flag.db"
    assert config(tmp_path, toml='store = "sqlite:///f.db"', store_file=str(secret)).store == URL
    with pytest.raises(InvalidArgument, match="sets both store and store_file"):
        config(tmp_path, toml=f'{toml}\nstore = "sqlite:///f.db"')
    (tmp_path / "callboard.toml").unlink()
    with pytest.raises(UsageError):
        config(tmp_path, store="sqlite:///v.db", store_file=str(secret), stor="x", executor="none")


def test_every_setting_can_be_given_by_a_variable():
    assert {setting.variable for setting in SETTINGS.values()} >= {"CALLBOARD_STORE", "CALLBOARD_LEASE_TTL"}
    for setting in SETTINGS.values():
        assert setting.meaning
        assert setting.flag or setting.name.endswith("_file") or setting.kind == "secret"


def test_unknown_option_is_a_usage_error():
    assert issubclass(UnknownOption, UsageError)
