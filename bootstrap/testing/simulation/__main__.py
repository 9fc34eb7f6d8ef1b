"""Many seeds from a shell."""

from __future__ import annotations

import sys
import time

import click

from . import STEPS, Violation, simulate


@click.command()
@click.option("--seeds", default="0:200", show_default=True, metavar="FIRST:END", help="Which seeds to run.")
@click.option("--steps", default=STEPS, show_default=True, type=click.IntRange(min=1),
              help="Acts of store and lease in each, until everything is mended.")
@click.option("--story", is_flag=True, help="Tell the last seed's story, too.")
def main(seeds: str, steps: int, *, story: bool) -> None:
    """Run callboard's protocol on simulated nodes, with faults; exit code 1 and the story where a promise breaks."""
    first, colon, end = seeds.partition(":")
    if not first.isdecimal() or (colon and not end.isdecimal()):
        raise click.BadParameter(f"{seeds!r} is not FIRST:END, as in 0:200", param_hint="--seeds")
    chosen = range(int(first), int(end) if colon else int(first) + 1)
    began_s, done = time.perf_counter(), None
    try:
        for seed in chosen:
            done = simulate(seed, steps)
    except Violation as violation:
        click.echo(str(violation), err=True)
        sys.exit(1)
    if story and done is not None:
        for at_s, who, what, detail in done.world.story:
            click.echo(f"{at_s:9.3f}  {who:<6} {what} {detail}".rstrip())
    click.echo(f"{len(chosen):,} seeds of {steps:,} steps, every promise held ({time.perf_counter() - began_s:.1f} s)")


if __name__ == "__main__":
    main(prog_name="python -m callboard.testing.simulation")
