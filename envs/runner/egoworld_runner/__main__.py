"""Command line of the contract: ``python -I -m egoworld_runner run --job job.json``.

Exit status: 0 the job ran (clips may have failed, their reports say why), 1 the model could not be set up or the disk
is full, 2 the job file is wrong, 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from egoworld_runner.errors import BadJob
from egoworld_runner.events import Events
from egoworld_runner.execute import run_job
from egoworld_runner.job import Job
from egoworld_runner.keeper import adopt
from egoworld_runner.lifetime import end_on_sigterm
from egoworld_runner.memory import bound_memory, die_first
from egoworld_runner.space import ran_out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="egoworld_runner", description=__doc__.split("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a job file")
    run.add_argument("--job", type=Path, required=True, help="path of the job file (JSON)")
    run.add_argument("--parent", type=int, help="end when this parent process ends (its pid)")
    run.add_argument("--memory", type=int, help="bytes of memory that this process may have (default: no bound)")
    options = parser.parse_args(arguments)
    end_on_sigterm()
    if options.parent is not None:
        adopt(options.parent)
    die_first()
    if options.memory is not None:
        bound_memory(options.memory)
    events = Events.take_stdout()
    try:
        run_job(Job.read(options.job), events)
    except BadJob as error:
        events.emit("error", reason=str(error))
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # noqa: BLE001 the model's own set-up failed; its words are the explanation
        full = ran_out(error, options.job.parent)
        events.emit("error", reason=f"{type(error).__name__}: {error}", disk_full=full)
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
