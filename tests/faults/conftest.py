"""For the fault tests: a fleet of nodes that ends with its test, and keeps the history of one that failed."""

import shutil
import tempfile
from pathlib import Path

import faultkit
import pytest
from faulthistory import Violation
from faultstores import Home

_failed = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let the fixture know how the test ended, and the summary what it measured."""
    report = yield
    if call.when == "call":
        item.stash[_failed] = report.failed
        report.user_properties += [("figures", f"{line} [seed {faultkit.SEED}]") for line in faultkit.told]
        faultkit.told.clear()
    return report


@pytest.fixture
def fleet(request):
    """Make a fleet: `fleet(*plants, kind="redis", slots=2, ...)`, see faultkit.Fleet; on SQLite unless told."""
    made, homes = [], []
    home = Path(tempfile.mkdtemp(prefix="callboard-faults-"))

    def make(*plants, kind="sqlite", clock_s=None, proxied=False, **settings):
        folder = home / f"fleet-{len(made)}"
        if kind != "sqlite":
            homes.append(Home(kind, clock_s, proxied=proxied))
            settings["store"] = homes[-1]
        folder.mkdir()
        made.append(faultkit.Fleet(folder, *plants, **settings))
        return made[-1]

    print(f"CALLBOARD_TEST_SEED={faultkit.SEED}")  # noqa: T201 - shown when the test fails, to run the same again
    yield make
    for one in [*made, *homes]:
        one.close()
    if request.node.stash.get(_failed, True):
        print(f"the history is kept in {home}")  # noqa: T201 - shown with the failure
    else:
        shutil.rmtree(home)


@pytest.fixture
def caught():
    """Run a check that must raise Violation under a mutant, and nothing without one: `caught(mutant, check)`."""

    def run(mutant, check):
        if not mutant:
            check()
            return
        with pytest.raises(Violation) as found:
            check()
        faultkit.tell(f"mutant {mutant} caught: {found.value}"[:150])

    return run
