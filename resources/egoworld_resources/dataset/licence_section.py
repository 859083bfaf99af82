"""The part of the dataset card on licences: of the videos, the weights, the outputs and the code, each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from egoworld_resources.licences.terms import Licensing

KINDS = {
    "rights": "source videos",
    "weights": "weights of models",
    "outputs": "terms on what models make",
    "input": "inputs whose manifests are gone",
    "code": "code of models (not a licence of this data)",
}
NAMED = 6
"""Videos or artifacts that a line names."""

Entry = Mapping[str, Any]


def of_data(entries: Sequence[Entry]) -> list[str]:
    """The licences of the data, without those of the code; "" is an unknown one."""
    bearings = (one for entry in entries for one in entry["licences"])
    return sorted(
        {b["licence"] for b in bearings if b["kind"] != "code" and not (b["kind"] == "outputs" and not b["licence"])}
    )


def text(entries: Sequence[Entry]) -> str:
    """The section as Markdown."""
    lines = ["## Licences", "", "| of | licence | commercial use | why | |", "|---|---|---|---|---|"]
    for kind, title in KINDS.items():
        lines += [f"| {title} | {' | '.join(cells)} |" for cells in _rows(entries, kind)]
    shared = sorted({name for licence in of_data(entries) for name in Licensing().share_alike(licence)})
    if shared:
        lines += ["", f"Share alike: {', '.join(shared)} must stay on what is handed on."]
    return "\n".join([*lines, "", *_sources(entries), *_declared_then(entries)])


def _rows(entries: Sequence[Entry], kind: str) -> Iterable[tuple[str, str, str, str]]:
    groups: dict[tuple[str, str, str], dict[str, None]] = {}
    for entry in entries:
        for one in entry["licences"]:
            if one["kind"] == kind:
                judged = (one["licence"] or "unknown", one["terms"], f"{one['term']}: {one['reason']}")
                groups.setdefault(judged, {})[one["of"]] = None
    for (licence, terms, why), of in sorted(groups.items()):
        yield cell(licence), terms, cell(why), cell(_named(list(of)))


def _sources(entries: Sequence[Entry]) -> list[str]:
    """Who gave the videos, as it was stated."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for entry in entries:
        rights = entry["rights"]
        if rights["licence"]:
            facts = tuple(rights[name] for name in ("licence", "source", "by", "at"))
            groups.setdefault(facts, []).append(entry["video"])
    if not groups:
        return []
    lines = ["| rights in videos | source | stated by | at | videos |", "|---|---|---|---|---|"]
    for facts, videos in sorted(groups.items()):
        lines.append(f"| {' | '.join(cell(value) for value in (*facts, _named(videos)))} |")
    return [*lines, ""]


def _declared_then(entries: Sequence[Entry]) -> list[str]:
    """Licences that were declared otherwise when an artifact was made."""
    found = {
        (one["of"], one["kind"], one["then"] or "none", one["licence"] or "none")
        for entry in entries
        for one in entry["licences"]
        if "then" in one
    }
    if not found:
        return []
    lines = ["Declared otherwise when the artifacts were made; today's declaration counts:", ""]
    lines += [f"- {cell(of)} ({kind}): {cell(then)}, today {cell(now)}" for of, kind, then, now in sorted(found)]
    return [*lines, ""]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def cell(value: str) -> str:
    """A text inside one cell of a Markdown table."""
    return value.replace("|", "\\|").replace("\n", " ")
