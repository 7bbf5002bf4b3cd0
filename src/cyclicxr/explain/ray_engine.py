"""Many films at once: processes of Ray, on one machine or many, each with its own model; knows no model."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cyclicxr.explain.batch import Done, DoneAlready, Failure, Job, Work, do_job
from cyclicxr.types import InputError

TRIES = 3  # [ours] a film whose process dies as often has failed: it may be what kills them


def run_on_ray(
    jobs: Sequence[Job], open_model: Callable[[], tuple[Work, DoneAlready | None]], out_dir: Path, timeout: float | None
) -> Iterator[Done | Failure]:
    """`batch.run_jobs` by as many processes as Ray has CPUs, in the order in which films are done.

    Ray runs in this machine, or is the cluster of RAY_ADDRESS, whose machines see the same files under the same paths. Each result is
    written by the process that made it. When a process dies, Ray starts another, which does its film again.

    Args:
        jobs: of `find_jobs`, one or more.
        open_model: called once in each process, for `work` and `done_already` of `run_jobs`; Ray pickles it.
        out_dir: where `write_result` writes.
        timeout: most seconds of one film; None is no limit.

    Raises:
        InputError: Ray is not installed, the model can't be opened, or the disk is full.
    """
    ray = _started()
    films = [{"path": str(job.path), "name": job.name} for job in jobs]
    workers = max(1, min(len(films), int(ray.cluster_resources().get("CPU", 1))))
    pool = ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1)
    try:
        done = ray.data.from_items(films, override_num_blocks=len(films)).map(
            _worker(ray, open_model, out_dir, timeout), compute=pool, num_cpus=1
        )
        for row in done.iter_rows():
            if isinstance(row["item"], Exception):
                raise row["item"]
            yield row["item"]
    finally:
        ray.shutdown()


def _worker(ray: Any, open_model: Callable[[], tuple[Work, DoneAlready | None]], out_dir: Path, timeout: float | None) -> type:
    begun = ray.remote(num_cpus=0)(_Begun).remote()
    here = Path.cwd()

    class Worker:
        """What each process of Ray makes once, and is then given film after film."""

        def __init__(self) -> None:
            os.chdir(here)
            self.wrong: InputError | None = None
            try:
                self.work, self.done_already = open_model()
            except InputError as error:
                self.wrong = error  # raised here, Ray would start the process again and again

        def __call__(self, film: dict[str, str]) -> dict[str, Done | Failure | Exception]:
            if self.wrong is not None:
                return {"item": self.wrong}
            job = Job(Path(film["path"]), film["name"])
            if ray.get(begun.again.remote(job.name)) > TRIES:
                message = f"{job.path}: the process that does it died {TRIES} times, of too little memory or of a damaged file"
                return {"item": Failure(str(job.path), message, ours=True)}
            try:
                return {"item": do_job(job, self.work, out_dir, self.done_already, timeout)}
            except (InputError, OSError) as error:  # a full disk ends the run, and not only this film
                return {"item": error}

    return Worker


class _Begun:
    """How often each film was begun."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}

    def again(self, name: str) -> int:
        self.times[name] = self.times.get(name, 0) + 1
        return self.times[name]


def _started() -> Any:
    """Ray, running, and speaking of errors alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("--engine ray: Ray is not installed; pip install 'cyclicxr[ray]'") from None
    ours = signal.getsignal(signal.SIGTERM)
    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    signal.signal(signal.SIGTERM, ours)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray
