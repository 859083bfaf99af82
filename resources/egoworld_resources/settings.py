"""Configuration: flags > environment (EGOWORLD_*, then DATA_DIR and the like) > egoworld.toml > defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.layout import Layout
from egoworld_resources.licences.tables import LicenceTable, RightsTable
from egoworld_resources.named_paths import PATHS, OtherNames

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parents[1] if PACKAGE.parent.name == "resources" else PACKAGE / "project"
"""Where envs/, locks/ and infra/ lie: the checkout that this package runs from, or what its wheel brought of it."""

CONFIG_FILE = "egoworld.toml"


class Extra(BaseModel):
    """[extra]"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_paths: dict[str, Path] = Field(
        default_factory=dict,
        description="Weights at places of their own: a file by weights' name or env/name, a folder by env.",
    )


class Settings(BaseSettings):
    """Everything that a person may set. Unknown names are refused."""

    model_config = SettingsConfigDict(env_prefix="EGOWORLD_", env_nested_delimiter="__", extra="forbid")

    home: Path = Field(Path("data"), description="Folder of everything that egoworld writes.")
    cache: Path | None = Field(None, description="Folder of what was read from S3; default <home>/cache.")
    logs: Path | None = Field(
        None,
        description="Folder of logs: of failed and quarantined videos, default <home>/logs; below server/ those of a "
        "server's parts, default <home>/production/logs.",
    )
    model_home: Path = Field(Path("models"), description="Folder of weights that no package carries.")
    weights_sources: tuple[str, ...] = Field(
        ("modelscope:*/*", "huggingface:*/*"),
        description="Repositories that models may be downloaded from, HUB:OWNER/NAME; globs.",
    )
    weights_pickles: dict[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], str] = Field(
        default_factory=dict,
        description="Files of weights that are taken although they load as pickles, by sha256, each with its reason; "
        "beside those of envs/policy.toml.",
    )
    extra: Extra = Field(default_factory=Extra, description="More, by name: extra.model_paths.")
    inbox: Path | None = Field(None, description="Folder watched for new videos; default <home>/inbox.")
    project: Path = Field(PROJECT, description="Folder with envs/ and locks/.")
    extra_envs: tuple[Path, ...] = Field((), description="More folders of model envs, beside <project>/envs.")
    env_profile: str = Field(
        "", description="Profile of envs/policy.toml that locks are taken for: cpu on a machine without a GPU."
    )
    policy: Path | None = Field(
        None,
        description="Rules of this site for envs of workflows, over envs/policy.toml; default <home>/policy.toml.",
    )
    uv: Path = Field(PROJECT / ".tools/bin/uv", description="The uv executable that builds model envs.")
    uv_cache: Path | None = Field(
        None, description="uv's cache, on the partition of <home>; default UV_CACHE_DIR or <home>/uv-cache."
    )
    wheelhouse: Path | None = Field(
        None,
        description="Folder of wheels that envs are installed from before the network is asked; "
        "default that of the kit which the project was installed from, if it was.",
    )
    tools: Path | None = Field(
        None, description="Programs of the server (`make up`); default egoworld-tools beside uv's cache."
    )
    rights: RightsTable = Field(
        default_factory=RightsTable, description="Rights in the source videos, by folder or prefix."
    )
    licences: LicenceTable = Field(
        default_factory=LicenceTable,
        description="What licences allow that SPDX does not know, and corrections of envs.",
    )
    stages: dict[str, str] = Field(default_factory=dict, description="Which model env serves a stage, by stage.")
    on_cpu: tuple[str, ...] = Field(
        (), description="Stages that run on a CPU, however slowly, though their model is made for a GPU."
    )
    params: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Parameters by stage, over the model's own defaults."
    )
    batch: int = Field(
        32, ge=1, description="Videos that one load of a model serves; what kill -9 costs is the work on these at most."
    )
    silence_s: float = Field(900, gt=0, description="Seconds a runner may say nothing before its clip counts as hung.")
    memory_gb: float | None = Field(
        None,
        gt=0,
        description="Memory (GB) that a runner may have; default none. More fails its clip, where others get through.",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="How runs log to their output: text for people, json for programs. A server logs json."
    )
    settle_s: float = Field(
        5, ge=0, description="Seconds between two looks that find an inbox file the same, before it is taken."
    )
    files_url: str = Field(
        "http://127.0.0.1:3001", description="Where browsers get files of artifacts; `egoworld ui` serves them."
    )
    store: Literal["folder", "s3"] | None = Field(
        None, description="Where artifacts lie; default s3 when S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY are set."
    )
    index: SecretStr | None = Field(
        None,
        description="Database of what is made, postgresql://user:password@host/database; default a file of SQLite. "
        "Machines that write to the same buckets need one that they share.",
    )
    cache_gb: float = Field(50, gt=0, description="Disk (GB) for what was read from S3; more only while it is in use.")
    retry_delay_s: float = Field(
        10.0, ge=0, description="Seconds before a transient fault is tried again; doubles each time."
    )
    retry_first_s: float = Field(
        30.0, gt=0, description="Seconds before a fault of the machine is tried again by one video; doubles each time."
    )
    retry_longest_s: float = Field(
        900.0, gt=0, description="Seconds before it is tried again at most, however often it was."
    )
    shards: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Dagster partitions that the videos are spread over; 0: a partition of its own for each video.",
    )
    sensors_every_s: int = Field(30, ge=1, description="Seconds between two looks of each sensor of Dagster.")
    refresh_limit: int = Field(200, ge=1, description="Videos that the nightly refresh takes on at most.")
    refresh_at: str = Field(
        "03:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="When the nightly refresh begins, UTC."
    )
    refresh_every_h: float = Field(24.0, gt=0, description="Hours from one nightly refresh to the next.")
    refresh_for_h: float = Field(1.0, gt=0, description="Hours for which the nightly refresh looks for work.")
    dataset_quiet_s: float = Field(
        120.0, ge=0, description="Seconds without a change after which the dataset is merged again by itself."
    )
    dataset_wait_s: float = Field(
        1800.0, ge=0, description="Seconds after a change at which the dataset is merged although more changes come."
    )
    dataset_look_s: float = Field(
        3600.0, gt=0, description="Seconds between two looks at everything for changes of which Dagster heard nothing."
    )
    event_log_days: int = Field(
        90, ge=0, description="Days after which an ended run loses its log and step events; 0: never."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, OtherNames(settings_cls), toml

    @classmethod
    def load(cls, **flags: Any) -> Settings:
        """Read all sources; flags that are None count as not given. Raises BadConfiguration naming the setting."""
        try:
            settings = cls(**{name: value for name, value in flags.items() if value is not None})
        except (ValidationError, ValueError) as error:
            raise BadConfiguration(f"configuration ({config_file()}, EGOWORLD_*, flags) is wrong: {error}") from error
        explicit = {name: whole(path) for name, path in settings.extra.model_paths.items()}
        settings = settings.model_copy(update={"extra": Extra(model_paths=explicit)})
        return settings.with_folders(settings.folders)

    @property
    def folders(self) -> dict[str, Path]:
        """The folders that a setting names."""
        named = {name: getattr(self, name) for name in PATHS}
        return {name: path for name, path in named.items() if path is not None}

    def with_folders(self, folders: Mapping[str, Path]) -> Self:
        """The same with other folders; relative ones count from that of egoworld.toml."""
        return self.model_copy(update={name: whole(path) for name, path in folders.items()})

    @property
    def layout(self) -> Layout:
        return Layout(self.home, self.cache, self.logs)

    @property
    def policy_file(self) -> Path:
        """The site's own rules for envs of workflows, there or not."""
        return (self.policy or self.home / "policy.toml").absolute()

    @property
    def inbox_folder(self) -> Path:
        return (self.inbox or self.home / "inbox").resolve()

    @property
    def uv_cache_folder(self) -> Path:
        given = self.uv_cache or os.environ.get("UV_CACHE_DIR")
        return Path(given).resolve() if given else self.home / "uv-cache"


def whole(path: Path) -> Path:
    """A path as it counts: from the folder of the configuration file on, or from the working directory without one."""
    return ((config_file().parent if config_file().is_file() else Path.cwd()) / path).resolve()


def config_file() -> Path:
    """The configuration file in force: EGOWORLD_CONFIG, else egoworld.toml in the working directory."""
    return Path(os.environ.get("EGOWORLD_CONFIG", CONFIG_FILE)).resolve()
