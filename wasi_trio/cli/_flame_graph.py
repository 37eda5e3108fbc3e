"""A flame graph of profiles: one self-contained HTML file with an SVG, which a browser can search and zoom.

All names in it come from guests, so they are escaped everywhere. A content security policy prevents the file from
loading and sending anything.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wasi_trio._files import read_file
from wasi_trio._texts import shown
from wasi_trio.runtime._profile_file import HOST, Frame, Profile, ProfileError, read

#: The width of the graph, the height of a row, and the width of the narrowest visible frame, in pixels.
WIDTH, ROW, NARROWEST = 1200.0, 18, 0.3
#: The width of a character in a label, in pixels.
_CHARACTER = 7.0


@dataclass(slots=True)
class Node:
    """A function in its call stack, with the weight of the samples in it and in its callees."""

    frame: Frame
    weight: float = 0.0
    called: dict[Frame, Node] = field(default_factory=dict)


def tree(profiles: Sequence[Profile]) -> Node:
    """Add up the samples of all threads of all profiles. Weights are in seconds."""
    root = Node(("all", "", 0))
    for profile in profiles:
        for _, samples in profile.threads:
            for frames, weight in samples:
                seconds = weight * profile.interval
                root.weight += seconds
                node = root
                for frame in frames:
                    node = node.called.setdefault(frame, Node(frame))
                    node.weight += seconds
    return root


def flame_graph(paths: Sequence[str]) -> str:
    """Draw the flame graph of profiles in files. Raise ProfileError, which names the file."""
    profiles = []
    for path in paths:
        try:
            profiles.append(read(read_file(path)))
        except OSError as error:
            raise ProfileError(f"cannot read {path or repr(path)}: {error.strerror}") from None
        except ProfileError as error:
            raise ProfileError(f"{path} {error}") from None
    root = tree(profiles)
    boxes = list(_boxes(root))
    height = (max(depth for _, depth, _, _ in boxes) + 1) * ROW
    name = profiles[0].name if len(profiles) == 1 else f"{len(profiles)} profiles"
    notes = [note for profile in profiles for note in profile.notes]
    return _PAGE.format(
        title=_text(name),
        computed=f"{root.weight:.3f}",
        notes="".join(f"<p>{_text(note)}</p>" for note in dict.fromkeys(notes)),
        width=WIDTH,
        height=height,
        boxes="\n".join(_box(root, *box) for box in boxes),
    )


def _boxes(root: Node) -> Iterator[tuple[Node, int, float, float]]:
    """Yield each visible frame with its depth, its left edge and its width."""
    scale = WIDTH / root.weight if root.weight else 0.0
    waiting = [(root, 0, 0.0)]
    while waiting:
        node, depth, left = waiting.pop()
        width = node.weight * scale if node is not root else WIDTH
        if width < NARROWEST:
            continue
        yield node, depth, left, width
        for child in sorted(node.called.values(), key=lambda child: child.frame):
            waiting.append((child, depth + 1, left))
            left += child.weight * scale


def _box(root: Node, node: Node, depth: int, left: float, width: float) -> str:
    name, part, category = node.frame
    share = node.weight / root.weight if root.weight else 0.0
    where = f" ({part})" if part else ""
    title = f"{name}{where}: {node.weight:.3f} s, {share:.1%}"
    room = int(width / _CHARACTER)
    label = name if len(name) <= room else name[: room - 1] + "\u2026" if room > 2 else ""
    colour = 120 if category == HOST else 10 + sum(name.encode("utf-8", "replace")) % 45
    return (
        f'<g data-left="{left:.2f}" data-width="{width:.2f}" data-name="{_text(name)}"><title>{_text(title)}</title>'
        f'<rect x="{left:.2f}" y="{depth * ROW}" width="{width:.2f}" height="{ROW - 1}" fill="hsl({colour} 80% 70%)"/>'
        f'<text x="{left + 3:.2f}" y="{depth * ROW + 13}">{_text(label)}</text></g>'
    )


def _text(text: str) -> str:
    return html.escape(shown(text, None))


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 14px sans-serif; margin: 1em }}
svg {{ width: 100%; height: auto; cursor: pointer }}
text {{ font: 12px monospace; pointer-events: none }}
.found rect {{ fill: magenta }}
.outside {{ opacity: 0.3 }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Guests computed for {computed} s according to the samples. Click a function to zoom in. Click <em>all</em> to reset
the zoom.</p>
{notes}
<p><label>Search <input id="search" type="search"></label> <output id="share"></output></p>
<svg id="graph" viewBox="0 0 {width} {height}" preserveAspectRatio="none">
{boxes}
</svg>
<script>
"use strict";
const groups = [...document.querySelectorAll("#graph g")];
const total = {width};
function zoom(group) {{
  const left = Number(group.dataset.left), width = Number(group.dataset.width), scale = total / width;
  for (const g of groups) {{
    const l = Number(g.dataset.left), w = Number(g.dataset.width);
    const x = Math.max(0, (l - left) * scale), right = Math.min(total, (l + w - left) * scale);
    g.style.display = right - x > 0.3 ? "" : "none";
    const rect = g.querySelector("rect"), text = g.querySelector("text");
    rect.setAttribute("x", x);
    rect.setAttribute("width", Math.max(0, right - x));
    text.setAttribute("x", x + 3);
    const room = Math.floor((right - x) / 7), name = g.dataset.name;
    text.textContent = name.length <= room ? name : room > 2 ? name.slice(0, room - 1) + "\\u2026" : "";
  }}
}}
function search(word) {{
  const spans = [];
  for (const g of groups) {{
    const found = word !== "" && g.dataset.name.toLowerCase().includes(word);
    g.classList.toggle("found", found);
    if (found) spans.push([Number(g.dataset.left), Number(g.dataset.left) + Number(g.dataset.width)]);
  }}
  let covered = 0, until = 0;
  for (const [from, to] of spans.sort((a, b) => a[0] - b[0])) {{
    covered += Math.max(0, to - Math.max(from, until));
    until = Math.max(until, to);
  }}
  document.getElementById("share").textContent = word === "" ? "" : (100 * covered / total).toFixed(1) + " %";
}}
for (const g of groups) g.addEventListener("click", () => zoom(g));
document.getElementById("search").addEventListener("input", event => search(event.target.value.toLowerCase()));
</script>
</body>
</html>
"""
