"""Layouts of models that are put together of several parts: rules as TOML files, `envs/*/layouts/MODEL.toml`."""

from __future__ import annotations

import glob
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.settings import Settings, whole
from egoworld_resources.weights.manifest import MODEL, why_odd
from egoworld_resources.weights.verify import Difference

INDEX = ".safetensors.index.json"
"""Ending of a file that names the files over which a model's tensors are spread."""


def _plain(path: str) -> str:
    if path and (reason := why_odd(path)):
        raise ValueError(f"'{path}' {reason}")
    return path


Plain = Annotated[str, AfterValidator(_plain)]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class LayoutPart(_Declared):
    """Files of one source. The first part of a layout that has a pattern for a file has the file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    at: Plain = Field("", description="folder below the model's folder that these files lie in")
    files: Sequence[Plain] = Field(min_length=1, description="patterns below it; * stays in a folder, ** does not")
    source: str = Field("", description="HUB:OWNER/NAME; empty when it is not known")
    revision: str = Field("", description="full commit there; empty: it is said at the download")
    licence: str = Field("LicenseRef-unknown", description="SPDX id, where no hub and no manifest says another")
    option: str = Field("", description="taken only when --OPTION asks for it; empty: always")
    spare: str = Field("", description="why no program needs these files: slim removes them; empty: they are needed")

    def has(self, path: str) -> bool:
        """Whether a path of the model's folder is a file of this part."""
        below = path.removeprefix(f"{self.at}/") if self.at else path
        return (not self.at or below != path) and self.wants(below)

    def wants(self, path: str) -> bool:
        """The same of a path of the part's own source."""
        return any(matches(path, pattern) for pattern in self.files)


class OldPlace(_Declared):
    """A folder below the model home whose files belong into the model's folder."""

    origin: Plain = Field(alias="from", min_length=1)
    to: Plain = ""


class Layout(_Declared):
    """What a model's folder must hold, and may."""

    model: str = Field(pattern=f"^{MODEL.pattern}$")
    required: Sequence[str | Sequence[str]] = Field(description="paths with names in braces; of a list, one is enough")
    environment: Mapping[str, str] = Field(default_factory=dict[str, str])
    prepare: Sequence[OldPlace] = ()
    parts: Sequence[LayoutPart] = Field(min_length=1)

    @property
    def templates(self) -> list[str]:
        """All paths of ``required``."""
        return [path for rule in self.required for path in alternatives(rule)]

    @property
    def options(self) -> list[str]:
        """Names of what is taken only when it is asked for."""
        return sorted({part.option for part in self.parts if part.option})

    def part_of(self, path: str) -> LayoutPart | None:
        """The part that a path of the model's folder is of, if any."""
        return next((part for part in self.parts if part.has(path)), None)

    def chosen(self, given: Sequence[str]) -> set[str]:
        """Options from the words of a command line, --NAME each; raises BadConfiguration for others."""
        for word in given:
            if word.removeprefix("--") not in self.options or not word.startswith("--"):
                known = ", ".join(f"--{option}" for option in self.options) or "none"
                raise BadConfiguration(f"'{word}' is no option of {self.model}; its own: {known}")
        return {word.removeprefix("--") for word in given}


def layouts(settings: Settings) -> dict[str, Layout]:
    """All layouts by model. Raises BadConfiguration naming the file and the field."""
    folders = [settings.project / "envs", *settings.extra_envs]
    files = [file for folder in folders for file in sorted(folder.glob("*/layouts/*.toml"))]
    return {layout.model: layout for layout in map(read_layout, files)}


def layout_named(settings: Settings, name: str) -> Layout:
    """One layout; raises UnknownName with those that there are."""
    found = layouts(settings)
    if name not in found:
        raise UnknownName("model with a layout", name, found)
    return found[name]


def read_layout(file: Path) -> Layout:
    """The layout of a file. Raises BadConfiguration naming the file and the field."""
    try:
        layout = Layout.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        if layout.model != file.stem:
            raise BadConfiguration(f"{file}: model: '{layout.model}' must be the file's name")
        places = places_of(layout, Path(), Path(), {})
        for template in layout.templates:
            template.format_map(places)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise BadConfiguration(f"{file}: {error} is not known") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadConfiguration(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return layout


def places_of(layout: Layout, home: Path, data: Path, given: Mapping[str, str]) -> dict[str, str]:
    """What each name in braces stands for: models, model, data, and the variables of the layout.

    home: the model home; data: the folder of what egoworld writes; given: the process's environment, which goes
    before a default that is made of several names.
    """
    places = {"models": str(home), "model": layout.model, "data": str(data)}
    for name, template in layout.environment.items():
        own = template in ("{models}", "{model}", "{data}")
        said = "" if own else given.get(name, "")
        places[name] = str(whole(Path(said))) if said else template.format_map(places)
    return places


def environment_of(layout: Layout, settings: Settings) -> dict[str, str]:
    """The variables by which the model's own code finds its files."""
    places = places_of(layout, settings.model_home, settings.home, os.environ)
    return {name: places[name] for name in layout.environment}


def lacking(layout: Layout, settings: Settings) -> list[Difference]:
    """What inference needs and is not there, in the order of the layout."""
    return list(_lacking(layout, places_of(layout, settings.model_home, settings.home, os.environ)))


def needed(layout: Layout, settings: Settings) -> set[Path]:
    """The files of this machine that inference needs, as far as they are there."""
    places = places_of(layout, settings.model_home, settings.home, os.environ)
    return {file for template in layout.templates for file in _found(template, places)}


def alternatives(rule: str | Sequence[str]) -> Sequence[str]:
    """The paths of which one is enough."""
    return [rule] if isinstance(rule, str) else rule


def _lacking(layout: Layout, places: Mapping[str, str]) -> Iterator[Difference]:
    for rule in layout.required:
        found = [file for template in alternatives(rule) for file in _found(template, places)]
        if not found:
            first, *others = [template.format_map(places) for template in alternatives(rule)]
            yield Difference("missing", first, " or ".join([f"{layout.model} needs it", *others]))
        for index in found:
            if index.name.endswith(INDEX):
                yield from _not_indexed(layout, index)


def _found(template: str, places: Mapping[str, str]) -> list[Path]:
    literal = {name: glob.escape(value) for name, value in places.items()}
    return [Path(file) for file in sorted(glob.glob(template.format_map(literal))) if Path(file).is_file()]  # noqa: PTH207


def _not_indexed(layout: Layout, index: Path) -> Iterator[Difference]:
    try:
        named = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        yield Difference("damaged", str(index), "is no index of safetensors")
        return
    for name in named:
        if why_odd(name) or not (index.parent / name).is_file():
            yield Difference("missing", str(index.parent / name), f"{layout.model} needs it: {index.name} names it")


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern has a path: * and ? stay within one folder, a last ** stands for all that is below."""
    names, wanted = path.split("/"), pattern.split("/")
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        names, deeper = names[: len(wanted)], len(names) > len(wanted)
        return deeper and all(map(fnmatchcase, names, wanted))
    return len(names) == len(wanted) and all(map(fnmatchcase, names, wanted))
