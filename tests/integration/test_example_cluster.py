"""examples/cluster: the leader is killed, another leads, nothing is lost; by the lines that the jobs left."""

from __future__ import annotations

import re

import pytest
from examplekit import run_example, started

JOBS = 60


def service(kind):
    """The address of a cluster of this test's own."""
    from clusterobjects import named  # noqa: PLC0415 - only where it is used
    from servers import shared  # noqa: PLC0415 - as above

    return named(shared.url(kind))


@pytest.mark.parametrize("backend", ["the store's", "consul", "zookeeper"])
def test_another_node_leads_after_the_kill_and_no_job_is_lost(tmp_path, backend):
    more = () if backend == "the store's" else ("--cluster", service(backend))
    output = run_example("cluster", "--work", str(tmp_path), "--jobs", str(JOBS), "--seconds", "0.1",
                         "--kill-leader-after", "0", *more)
    killed = re.search(r"(node\d-\w+) \(process \d+\) is killed", output)
    leaders = re.search(
        r"^Leaders: (node\d-\w+) \(epoch (\d+)\), then (node\d-\w+) \(epoch (\d+)\)$", output, re.MULTILINE)
    assert killed, output
    assert leaders, output
    assert leaders[1] == killed[1] != leaders[3]
    assert int(leaders[4]) > int(leaders[2])
    assert f"{JOBS} jobs: {JOBS} done, 0 lost" in output
    written = {int(path.name): path.read_text().splitlines() for path in (tmp_path / "done").iterdir()}
    assert written.keys() == set(range(JOBS))
    epochs = {int(re.match(r"epoch (\d+), process \d+$", line)[1]) for lines in written.values() for line in lines}
    assert int(leaders[4]) in epochs, "the second leader assigned jobs too"
    assert f"{sum(len(lines) > 1 for lines in written.values())} done twice" in output


def test_a_store_that_is_none_ends_it_with_one_line(tmp_path):
    with started("cluster", "--work", str(tmp_path), "--store", "gopher://x") as example:
        output = example.wait(2)
    assert output.startswith("error: 'gopher://x' is no store address")
    assert output.count("\n") == 1
