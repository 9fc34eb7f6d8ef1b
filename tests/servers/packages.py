"""Where a server's programs come from: this machine, or Debian's packages unpacked into a cache folder.

Nothing is installed and no service starts: apt works in a state of its own, with this machine's sources for its
release, its proxies and its keys, and `dpkg -x` unpacks what this machine lacks. Needs no root.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FORCE = "CALLBOARD_TEST_SERVERS"
"""`fetch`: pass over the programs of this machine. `local`: never fetch."""
_RECIPE_VERSION = 1
_APT_S = 300.0
_LISTS_FRESH_S = 3_600.0
_NEVER = (
    "libllvm.*|libz3-.*|perl.*|lib.*-perl|debconf.*|ssl-cert|openssl|locales|lsb-base|sysvinit-utils|adduser|passwd|"
    "init-.*|ucf|procps|netbase"
)
"""What Debian's packages depend on and a server under test does not."""
_FALLBACK = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: {name} {name}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: {name}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""

_SUITE = """\
Types: deb
URIs: {mirror}
Suites: {name}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
_MIRROR = "http://deb.debian.org/debian"


class Missing(Exception):
    """Raised when this machine has no such server and can't get it; says why."""


@dataclass(frozen=True)
class Recipe:
    """How to get a server.

    Attributes:
        name: of the server.
        programs: what must be there.
        packages: Debian's; what they depend on comes along.
        places: where on a machine the programs may be beside PATH, as globs.
        skip: which dependencies are not needed, as a pattern.
        suite: the Debian release that has them, where this machine's own does not.
        files: what else must be there, such as usr/share/java/x.jar; found by its name.
    """

    name: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]
    places: tuple[str, ...] = ()
    skip: str = "-"
    suite: str = field(default="", repr=False)  # not in `repr`, which names the cached folders of the others
    files: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Programs:
    """Found programs.

    Attributes:
        paths: by name.
        root: the folder that they are unpacked in; None when they are this machine's.
    """

    paths: dict[str, Path]
    root: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return str(self.paths[name])

    def environment(self) -> dict[str, str]:
        """The variables that they need, on top of this process's."""
        return {**os.environ, **self.variables}


_found: dict[str, Programs | Missing] = {}


def find(recipe: Recipe) -> Programs:
    """A server's programs, fetched if need be; asked once a process.

    Raises:
        Missing: Raised when there are none.
    """
    if recipe.name not in _found:
        try:
            _found[recipe.name] = _find(recipe)
        except Missing as error:
            _found[recipe.name] = error
    found = _found[recipe.name]
    if isinstance(found, Missing):
        raise found
    return found


def _find(recipe: Recipe) -> Programs:
    wish = os.environ.get(FORCE, "")
    if wish != "fetch" and (here := _on_this_machine(recipe)):
        return here
    if wish == "local":
        raise Missing(f"{recipe.name}: not on this machine, and {FORCE}=local")
    tools = [tool for tool in ("apt-get", "apt-config", "dpkg") if not shutil.which(tool)]
    if tools:
        lacks = ", ".join(tools)
        raise Missing(f"{recipe.name}: not on this machine, nor {lacks} to fetch it; see tests/servers/compose.yaml")
    home = cache()
    home.mkdir(parents=True, exist_ok=True)
    root = home / f"{recipe.name}-{_key(recipe)}"
    with _locked(home / "lock"):
        if not root.exists():
            _fetch(recipe, home, root)
    unpacked = _unpacked(recipe, root)
    if unpacked is None:
        raise Missing(f"{recipe.name}: the packages in {root} lack one of {recipe.programs + recipe.files}")
    return unpacked


def _on_this_machine(recipe: Recipe) -> Programs | None:
    """All programs from one place of this machine's, or from PATH."""
    folders = [sorted(Path("/").glob(place.lstrip("/")), reverse=True) for place in recipe.places]
    usual = [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    path = os.pathsep.join([*map(str, chain(*folders)), *usual])
    paths = {name: found for name in recipe.programs if (found := shutil.which(name, path=path))}
    files = _files(recipe, Path("/"))
    if len(paths) < len(recipe.programs) or files is None:
        return None
    found = {name: Path(found).resolve() if recipe.places else Path(found) for name, found in paths.items()}
    return Programs({**found, **files})


def _files(recipe: Recipe, root: Path) -> dict[str, Path] | None:
    """The files by name, if all are there."""
    found = {Path(file).name: root / file for file in recipe.files}
    return found if all(file.exists() for file in found.values()) else None


def _unpacked(recipe: Recipe, root: Path) -> Programs | None:
    kept_apart = [*root.glob("usr/lib/postgresql/*/bin"), *root.glob("usr/lib/jvm/*/bin")]
    folders = [root / "usr/bin", root / "usr/sbin", *sorted(kept_apart, reverse=True)]
    path = os.pathsep.join(map(str, folders))
    paths = {name: Path(found) for name in recipe.programs if (found := shutil.which(name, path=path))}
    files = _files(recipe, root)
    if len(paths) < len(recipe.programs) or files is None:
        return None
    libraries = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    joined = os.pathsep.join([*map(str, libraries), *filter(None, [os.environ.get("LD_LIBRARY_PATH", "")])])
    return Programs({**paths, **files}, root, {"LD_LIBRARY_PATH": joined})


def cache() -> Path:
    """The folder that fetched servers are kept in; as root one that others can enter, for the servers drop root."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if os.getuid() == 0 and not all(part.stat().st_mode & 0o001 for part in [home, *home.parents] if part.exists()):
        home = Path("/var/cache")
    return home / "callboard-tests" / "servers"


def _release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines() if Path("/etc/os-release").exists() else []
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _key(recipe: Recipe) -> str:
    release = _release()
    suite = (recipe.suite,) if recipe.suite else ()
    parts = (_RECIPE_VERSION, recipe, _NEVER, release.get("ID"), release.get("VERSION_ID"), platform.machine(), *suite)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; a dead one's lock is free."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(recipe: Recipe, home: Path, root: Path) -> None:
    """Make root appear at once, whole."""
    apt = Apt(home / (f"apt-{recipe.suite}" if recipe.suite else "apt"), recipe.suite)
    with tempfile.TemporaryDirectory(dir=home, prefix=f"{recipe.name}-") as temporary:
        debs, tree = Path(temporary, "debs"), Path(temporary, "tree")
        debs.mkdir()
        tree.mkdir(mode=0o755)
        try:
            apt.update(_LISTS_FRESH_S)
            apt.download(recipe, debs)
        except Missing:
            apt.update(0.0)  # a package that the lists name may have made way for a newer one
            apt.download(recipe, debs)
        for deb in sorted(debs.glob("*.deb")):
            _run(["dpkg", "-x", str(deb), str(tree)])
        tree.chmod(0o755)  # dpkg gave it the mode of the last package's
        _relink(tree)
        tree.rename(root)


def _relink(tree: Path) -> None:
    """Links that name a whole path, such as Java's into /etc, shall lead to what was unpacked."""
    for link in (path for path in tree.rglob("*") if path.is_symlink()):
        target = link.readlink()
        inside = tree / str(target).lstrip("/")
        if target.is_absolute() and inside.exists():
            link.unlink()
            link.symlink_to(os.path.relpath(inside, link.parent))


class Apt:
    """apt with a state of its own in a folder, for this machine's release or another one of Debian's."""

    def __init__(self, folder: Path, suite: str = "") -> None:
        self._folder = folder
        for part in ("conf", "sources", "lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        acquire = [line for line in _run(["apt-config", "dump"]).splitlines() if line.startswith("Acquire::")]
        (folder / "conf" / "acquire.conf").write_text("\n".join(acquire) + "\n")  # proxies and the like
        (folder / "sources" / "servers.sources").write_text(_SUITE.format(mirror=mirror(), name=suite) if suite
                                                            else sources())
        (folder / "sources" / "servers.list").write_text("" if suite else lines())
        settings = {
            "Dir::Etc::parts": folder / "conf",  # no hooks of this machine's
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": folder / "sources",
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Debug::NoLocking": 1,  # this machine's dpkg is only read; ours is locked by _locked
            "APT::Sandbox::User": "" if os.getuid() else "root",
        }
        text = "".join(f'{name} "{value}";\n' for name, value in settings.items())
        self._config = folder / "apt.conf"
        self._config.write_text(text)
        self._fresh = folder / "fresh"

    def update(self, fresh_s: float) -> None:
        """Fetch the lists unless they are younger than that."""
        if self._fresh.exists() and time.time() - self._fresh.stat().st_mtime < fresh_s:
            return
        self._apt("update", "-q", "--error-on=any")
        self._fresh.touch()

    def download(self, recipe: Recipe, folder: Path) -> None:
        """Download the packages, and what they need that this machine lacks."""
        plan = self._apt("install", "--simulate", "--reinstall", "--no-install-recommends", *recipe.packages)
        names = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
        skip = re.compile(f"{_NEVER}|{recipe.skip}")
        needed = [name for name in names if not skip.fullmatch(name)]
        if not needed:
            raise Missing(f"{recipe.name}: apt offers none of {', '.join(recipe.packages)}")
        self._apt("download", "-q", *needed, folder=folder)

    def _apt(self, *arguments: str, folder: Path | None = None) -> str:
        return _run(["apt-get", *arguments], folder, {"APT_CONFIG": str(self._config)})


def _run(command: list[str], folder: Path | None = None, variables: dict[str, str] | None = None) -> str:
    environment = {**os.environ, **(variables or {}), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_APT_S,
                              check=True)
    except subprocess.CalledProcessError as error:
        raise Missing(f"{' '.join(command)}: {error.stderr.strip()[-2_000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{' '.join(command)}: not done within {_APT_S} s") from error
    return done.stdout


def _suites() -> set[str]:
    name = _release().get("VERSION_CODENAME", "stable")
    return {name, f"{name}-updates", f"{name}-security", f"{name}/updates"}


def sources() -> str:
    """This machine's sources of its own release, in stanzas; Debian's public mirror where it has none at all."""
    found = []
    for file in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        text = "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("#"))
        for stanza in re.split(r"\n\s*\n", text):
            suites = re.search(r"^Suites:\s*(.+)$", stanza, re.MULTILINE | re.IGNORECASE)
            if suites and set(suites[1].split()) <= _suites():
                found.append(stanza.strip() + "\n")
    if not found and not lines() and _release().get("ID") == "debian":
        return _FALLBACK.format(name=_release()["VERSION_CODENAME"])
    return "\n".join(found)


def lines() -> str:
    """This machine's sources of its own release, in the older form of a line each."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]
    all_lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    pattern = re.compile(r"deb\s+(?:\[[^]]*\]\s+)?\S+\s+(\S+)\s")
    ours = [line for line in all_lines if (match := pattern.match(line)) and match[1] in _suites()]
    return "".join(f"{line}\n" for line in ours)


def mirror() -> str:
    """Where this machine gets its Debian release from, which has others beside it; Debian's public mirror elsewhere."""
    name = _release().get("VERSION_CODENAME", "")
    for stanza in re.split(r"\n\s*\n", sources()):
        suites = re.search(r"^Suites:\s*(.+)$", stanza, re.MULTILINE | re.IGNORECASE)
        where = re.search(r"^URIs:\s*(\S+)", stanza, re.MULTILINE | re.IGNORECASE)
        if suites and where and name in suites[1].split() and _release().get("ID") == "debian":
            return where[1]
    found = re.search(rf"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{re.escape(name)}\s", lines(), re.MULTILINE)
    return found[1] if found and _release().get("ID") == "debian" else _MIRROR
