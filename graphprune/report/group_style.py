"""Colours of a group picture, by kind of unit, for light and dark grounds."""

from __future__ import annotations

_COLOURS = {  # kind: fill and line on light ground, fill and line on dark ground
    "filters": ("#dbeafe", "#2563eb", "#1e3a5f", "#60a5fa"),
    "neurons": ("#dcfce7", "#16a34a", "#14402a", "#4ade80"),
    "experts": ("#e0f2fe", "#0284c7", "#123b52", "#38bdf8"),
    "heads": ("#ffedd5", "#ea580c", "#4a2a12", "#fb923c"),
    "kv-heads": ("#fef3c7", "#b45309", "#45330c", "#fbbf24"),
    "query-heads": ("#fae8ff", "#a21caf", "#451a4d", "#e879f9"),
    "head-dim": ("#ede9fe", "#7c3aed", "#332a5c", "#a78bfa"),
    "conv-groups": ("#ccfbf1", "#0d9488", "#0f3d3a", "#2dd4bf"),
    "width": ("#fee2e2", "#dc2626", "#4c1d1d", "#f87171"),
    "other": ("#e5e7eb", "#4b5563", "#374151", "#9ca3af"),
}


def css_class(kind: str) -> str:
    """The class of a kind, safe to write into a style sheet."""
    return kind if kind in _COLOURS or kind == "frozen" else "other"


def _kinds(fill: int, line: int) -> str:
    return "".join(
        f".{kind},.{kind} rect{{fill:{colours[fill]};stroke:{colours[line]}}}"
        f".{kind} .line{{stroke:{colours[line]}}}.{kind} .tip{{fill:{colours[line]}}}"
        for kind, colours in _COLOURS.items()
    )


_FROZEN = ".frozen,.frozen rect{fill:url(#hatch);stroke:#9ca3af}.frozen .line{stroke-dasharray:4 3}"
STYLE = f"""
text{{font:11px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#111827;stroke:none}}
.head{{font-weight:bold;font-size:13px}}
.dim{{fill:#6b7280}}
.end{{text-anchor:end}}
.ground{{fill:#ffffff}}
.op rect{{fill:#f9fafb;stroke:#9ca3af}}
.hatch-ground{{fill:#f3f4f6}}
.hatch-line{{fill:#d1d5db}}
{_kinds(0, 1)}
{_FROZEN}
.line{{fill:none;stroke-width:1.3}}
.tip{{stroke:none}}
.mark{{fill:#374151;stroke:#374151;stroke-width:1.3}}
.column{{fill:#6b7280;font-style:italic}}
.group:hover .line{{stroke-width:3}}
.group:hover rect{{stroke-width:2}}
svg:has(.group:hover) .group:not(:hover){{opacity:.15}}
@media (prefers-color-scheme:dark){{
text{{fill:#e5e7eb}}
.dim{{fill:#9ca3af}}
.ground{{fill:#0d1117}}
.mark{{fill:#d1d5db;stroke:#d1d5db}}
.column{{fill:#9ca3af}}
.op rect{{fill:#161b22;stroke:#4b5563}}
.hatch-ground{{fill:#1f2937}}
.hatch-line{{fill:#374151}}
{_kinds(2, 3)}
{_FROZEN}
}}
"""
