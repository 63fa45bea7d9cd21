"""The house in figures: rooms, arrows, circles, floors, long files, and what a newcomer would stumble over.

    python tools/checks/house.py [CHECKOUT ...]

A room is a folder or a loose file at the root of the package; an arrow is an import of one room by another,
type-only ones included. An arrow points upwards if it goes against the layers of the checkout's own ``pyproject.toml``.
"""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx as nx

_DOCSTRING_FROM = 12  # lines of a public function
_LINE_LENGTH = 120
_LONG = 400


@dataclass(frozen=True)
class Source:
    """One file of the package: its dotted name, text and syntax tree."""

    module: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder or loose file at the root of the package; empty for the package itself."""
        return self.module.split(".")[1] if "." in self.module else ""


def sources(root: Path) -> list[Source]:
    """Every Python file of the package; the passes wherever the checkout keeps them."""
    files = list((root / "graphprune").rglob("*.py"))  # no stubs: they import nothing
    files = [path for path in files if path.relative_to(root).parts[:2] != ("graphprune", "passes")]
    files += (root / "passes").glob("*.py")
    found = []
    for path in sorted(set(files)):
        parts = path.relative_to(root).with_suffix("").parts
        dotted = ".".join(parts if parts[0] == "graphprune" else ("graphprune", *parts)).removesuffix(".__init__")
        text = path.read_text()
        found.append(Source(dotted, path.relative_to(root), text, ast.parse(text)))
    return found


def imports(source: Source) -> Iterator[str]:
    """The dotted names of what a file imports from the package."""
    package = source.module if source.path.stem == "__init__" else source.module.rpartition(".")[0]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("graphprune."))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            if base == "graphprune":
                yield from (f"graphprune.{alias.name}" for alias in node.names)
            elif base.startswith("graphprune."):
                yield base


def arrows(files: list[Source]) -> nx.DiGraph:
    """Rooms, and which imports which."""
    rooms = {source.room for source in files} - {""}
    graph = nx.DiGraph()
    graph.add_nodes_from(rooms)
    for source in files:
        for name in imports(source):
            room = name.split(".")[1]
            if room in rooms and room != source.room:
                graph.add_edge(source.room or "graphprune", room)
    return graph


def floors(graph: nx.DiGraph) -> int:
    """The longest way down, with every circle as one room."""
    return int(nx.dag_longest_path_length(nx.condensation(graph))) + 1


def upward(graph: nx.DiGraph, root: Path) -> list[tuple[str, str]]:
    """Arrows from a lower room to an upper one, by the layers in ``pyproject.toml``; the package itself lies lowest."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    level: dict[str, int] = {"graphprune": len(layers)}
    for depth, layer in enumerate(layers):
        for name in re.findall(r"graphprune\.(\w+)", layer):
            level.setdefault(name, depth)
    return sorted((a, b) for a, b in graph.edges if level.get(b, len(layers)) < level.get(a, -1))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Public functions and methods of public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_"))


def undocumented(files: list[Source]) -> list[str]:
    """Public functions over 12 lines without a docstring; those that override a documented one speak by that."""
    documented = {f.name for source in files for f in functions(source.tree) if ast.get_docstring(f)}
    return [
        f"{source.path}:{f.lineno} {f.name}"
        for source in files
        for f in functions(source.tree)
        if not ast.get_docstring(f) and f.end_lineno - f.lineno >= _DOCSTRING_FROM and f.name not in documented  # type: ignore[operator]
    ]


def twice_named(files: list[Source]) -> dict[str, list[str]]:
    """Public classes, protocols and type aliases of one name in several files."""
    homes: dict[str, list[str]] = defaultdict(list)
    for source in files:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(source.module)
    return {name: places for name, places in homes.items() if len(places) > 1}


def broad_excepts(files: list[Source]) -> list[str]:
    """Handlers of Exception or of everything."""
    return [
        f"{source.path}:{node.lineno}"
        for source in files
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} & {"Exception", "BaseException"}
        )
    ]


def context_fields(files: list[Source]) -> int:
    """Fields of what a pass may look at."""
    return next(
        sum(isinstance(item, ast.AnnAssign) for item in node.body)
        for source in files
        for node in source.tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Context"
    )


def calls(files: list[Source], *names: str) -> int:
    """Places that call a function or class of one of these names."""
    return sum(
        isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in names
        for source in files
        for node in ast.walk(source.tree)
    )


def figures(root: Path) -> dict[str, str]:
    """Everything that is counted of one checkout, ready to print."""
    files = sources(root)
    graph = arrows(files)
    lengths = {source.path: source.text.count("\n") for source in files}
    longest = ", ".join(f"{path.relative_to(path.parts[0])} {n}" for path, n in Counter(lengths).most_common(3))
    circles = [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1]
    loose = sum(1 for source in files if len(source.path.parts) == 2 and source.path.parts[0] == "graphprune")
    lines = [line for source in files for line in source.text.splitlines()]
    names = twice_named(files)
    return {
        "loose files at the root": str(loose),
        "rooms": str(len(graph)),
        "floors": str(floors(graph)),
        "arrows": str(graph.number_of_edges()),
        "arrows upwards": f"{len(up := upward(graph, root))} {', '.join(f'{a}->{b}' for a, b in up[:4])}".strip(),
        "circles": f"{len(circles)} {'; '.join(', '.join(circle) for circle in circles)}".strip(),
        "files": str(len(files)),
        "lines": str(sum(lengths.values())),
        "longest files": longest,
        f"files over {_LONG} lines": str(sum(n > _LONG for n in lengths.values())),
        f"lines over {_LINE_LENGTH} columns": str(sum(len(line) > _LINE_LENGTH for line in lines)),
        "fmt: skip": str(sum("fmt: skip" in line for line in lines)),
        "broad excepts": str(len(broad_excepts(files))),
        "public functions over 12 lines, no docstring": str(len(undocumented(files))),
        "public classes of one name": f"{len(names)} {', '.join(sorted(names))}".strip(),
        "fields of Context": str(context_fields(files)),
        "call sites of to_proto": str(calls(files, "to_proto")),
        "call sites of DataFlow": str(calls(files, "DataFlow", "View")),
    }


def main() -> None:
    """Print the figures of each checkout side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path(__file__).resolve().parents[2]])
    columns = [figures(root) for root in parser.parse_args().checkouts]
    for name in columns[0]:
        print(f"{name:46} " + " | ".join(column[name] for column in columns))


if __name__ == "__main__":
    main()
