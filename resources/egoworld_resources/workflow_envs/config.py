"""Configuration of the fabric by environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.sandbox.cgroups import granted
from egoworld_resources.settings import Settings

VARIABLES = {
    "envs_base_path": "ENVS_BASE_PATH",
    "uv_cache_dir": "UV_CACHE_DIR",
    "database_url": "DATABASE_URL",
    "default_python": "DEFAULT_PYTHON",
    "execution_timeout": "EXECUTION_TIMEOUT",
    "execution_timeout_max": "EXECUTION_TIMEOUT_MAX",
    "runs_at_once": "EXECUTION_RUNS",
    "runs_memory_gb": "EXECUTION_RUNS_MEMORY_GB",
    "cleanup_idle_hours": "CLEANUP_IDLE_HOURS",
    "cleanup_dry_run": "CLEANUP_DRY_RUN",
    "memory_gb": "EXECUTION_MEMORY_GB",
    "output_mb": "EXECUTION_OUTPUT_MB",
    "processes": "EXECUTION_PROCESSES",
    "disk_gb": "EXECUTION_DISK_GB",
    "bytecode": "UV_COMPILE_BYTECODE",
    "cuda": "CONDA_OVERRIDE_CUDA",
}
DATA_ROOT = "DATA_ROOT"


MEMORY_SHARE = 0.75
"""Share of the machine's memory for all runs together, unless configured."""
LONGEST_RUN_S = 86_400
"""EXECUTION_TIMEOUT_MAX may be no longer, in seconds."""


class FabricConfig(BaseModel):
    """Where the envs of workflows are, where changes to them are recorded, and what running code may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    envs_base_path: Path = Field(description="Folder of the envs; default DATA_ROOT/envs.")
    uv_cache_dir: Path = Field(description="uv's cache, beside the envs on one partition; default DATA_ROOT/uv_cache.")
    database_url: str = Field(description="Audit database: postgresql://… or sqlite:///…; default a file of the home.")
    default_python: str = Field("3.11", pattern=r"^3\.\d{1,2}$", description="Python of an env that names none.")
    execution_timeout: float = Field(
        30, gt=0, le=LONGEST_RUN_S, description="Seconds that code may run, unless the call sets its own limit."
    )
    execution_timeout_max: float = Field(
        default_factory=lambda known: max(3600.0, known.get("execution_timeout", 0.0)),
        gt=0,
        le=LONGEST_RUN_S,
        description="Seconds that a call may ask for at the most.",
    )
    runs_at_once: int = Field(
        default_factory=lambda: max(4, 4 * len(os.sched_getaffinity(0))),
        ge=1,
        description="Runs of code at once; default 4 for each core.",
    )
    runs_memory_gb: float = Field(
        default_factory=lambda: round(MEMORY_SHARE * machine_bytes() / 10**9, 1),
        gt=0,
        description="Memory (GB) of all runs together, each counted in full; default three quarters of the machine's.",
    )
    cleanup_idle_hours: float = Field(
        72, gt=0, description="Hours without use after which the service, or cleanup, removes an env; inf: never."
    )
    cleanup_dry_run: bool = Field(default=False, description="The service only logs what it would remove.")
    memory_gb: float = Field(4, gt=0, description="Memory (GB) of code that runs in an env.")
    output_mb: float = Field(10, gt=0, description="Output (MB) that is kept of stdout and of stderr.")
    processes: int = Field(256, ge=1, description="Processes and threads of code that runs in an env.")
    disk_gb: float = Field(1, gt=0, description="Disk (GB) that code which runs in an env may write.")
    bytecode: bool = Field(
        default=False, description="Compile packages at the installation, in the sandbox, instead of at each import."
    )
    cuda: str = Field("", description="CUDA (12.4) of the servers, which conda envs are solved for; none without it.")

    @classmethod
    def load(cls, settings: Settings, environ: Mapping[str, str] = os.environ) -> FabricConfig:
        """The environment over the defaults of an installation: folders of its home, SQLite for the audit.

        Raises BadConfiguration naming the variable.
        """
        root = environ.get(DATA_ROOT)
        configured = {field: environ[name] for field, name in VARIABLES.items() if environ.get(name)}
        home = settings.home
        defaults = {
            "envs_base_path": f"{root}/envs" if root else str(home / "workflow_envs"),
            "uv_cache_dir": f"{root}/uv_cache" if root else str(settings.uv_cache_folder),
            "database_url": f"sqlite:///{(home / 'env_operations.sqlite').absolute()}",
        }
        try:
            config = cls.model_validate(defaults | configured)
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][0])
            raise BadConfiguration(f"{VARIABLES.get(field, field)}: {first['msg']} (got {first['input']!r})") from error
        _refuse_what_never_fits(config, configured)
        folders = {name: getattr(config, name).absolute() for name in ("envs_base_path", "uv_cache_dir")}
        return config.model_copy(update=folders)


def machine_bytes() -> int:
    """Memory of this machine, or of the control group that this process is in when that has less."""
    total = psutil.virtual_memory().total
    files = ("memory.max", "memory.limit_in_bytes", "memory.current", "memory.usage_in_bytes")
    group = granted("memory", *files, below=total)
    return group.limit if group else total


def _refuse_what_never_fits(config: FabricConfig, configured: Mapping[str, str]) -> None:
    if config.execution_timeout > config.execution_timeout_max:
        raise BadConfiguration(
            f"EXECUTION_TIMEOUT {config.execution_timeout:g} is more than EXECUTION_TIMEOUT_MAX "
            f"{config.execution_timeout_max:g}: raise the second, or lower the first"
        )
    if "runs_memory_gb" in configured and config.runs_memory_gb < config.memory_gb:
        raise BadConfiguration(
            f"EXECUTION_RUNS_MEMORY_GB {config.runs_memory_gb:g} is less than one run may have, "
            f"EXECUTION_MEMORY_GB {config.memory_gb:g}: raise the first, or lower the second"
        )
