"""`egoworld lineage`: what an artifact was made from, as a tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.tree import Tree

from egoworld_resources.making.state import SOURCE


def lineage_tree(node: dict[str, Any], seen: set[str] | None = None) -> Tree:
    """A lineage as a tree; an artifact that was shown before is only named."""
    seen = set() if seen is None else seen
    if node["asset"] == SOURCE:
        rights = node["rights"]
        tree = Tree(
            f"[bold]source[/bold] {escape(node['name'])} ({node['bytes']:,} bytes, sha256 {node['sha256'][:16]}…)"
        )
        stated = ", ".join(rights[name] for name in ("source", "by", "at") if rights[name])
        tree.add(escape(f"rights {licence_line(rights)}" + (f"; {stated}" if stated else "")))
        return tree
    version = node.get("data_version")
    if version is None or "env" not in node:
        return Tree(f"[bold]{node['asset']}[/bold] {version or 'did not exist'} {node.get('note', '')}")
    if version in seen:
        return Tree(f"[bold]{node['asset']}[/bold] {version[:12]} (above)")
    seen.add(version)
    if "said_by" in node:
        said = f"said {node['made_at']} by {node['said_by']} in {node['said_in']}"
        return Tree(f"[bold]{node['asset']}[/bold] {version[:12]}  {escape(said)}")
    label = f", {node['label']}" if node["label"] else ""
    tree = Tree(
        f"[bold]{node['asset']}[/bold] {version[:12]}  made {node['made_at']} by env {node['env']} ({node['model']}"
        f"{label})"
    )
    tree.add(f"lock {node['lock'][:12]}  runner {node['runner'][:12]}  contract {node['contract'][:12]}")
    if node["weights"]:
        tree.add("weights " + ", ".join(f"{name} {digest[:12]}" for name, digest in node["weights"].items()))
    if node["params"]:
        tree.add("parameters " + escape(", ".join(f"{name}={value}" for name, value in node["params"].items())))
    for licence in node["licences"]:
        tree.add(escape(f"licence of {licence['kind']} {licence['of']}: {licence_line(licence)}"))
    for up in node["inputs"]:
        tree.add(lineage_tree(up, seen))
    return tree


def licence_line(judged: Mapping[str, Any]) -> str:
    """A licence, what it allows and why; what was declared when the artifact was made, where that differs."""
    then = f", declared {judged['then'] or 'as none'} when it was made" if "then" in judged else ""
    return f"{judged['licence'] or 'unknown'}, {judged['terms']} ({judged['reason']}){then}"
