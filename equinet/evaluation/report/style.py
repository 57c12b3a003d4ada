"""Style sheet and script of a report."""

_LIGHT = """
  --paper: #ffffff; --ink: #1b1f24; --quiet: #57606a; --rule: #d0d7de; --grid: #e6e9ed;
  --first: #1f5f8b; --second: #b3541e; --faint: #9fb8ca; --box: #f4f6f8;
"""
_DARK = """
  --paper: #14171a; --ink: #e6e8eb; --quiet: #a3acb6; --rule: #3a4149; --grid: #2a3037;
  --first: #7ab8e6; --second: #f0a06a; --faint: #4c6f88; --box: #1d2227;
"""
_COLORS = (
    f":root {{ color-scheme: light dark; {_LIGHT} }}\n"
    f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}"
)
_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.25rem 1rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: .5rem 0 .75rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p { margin: .25rem 0 .5rem; max-width: 46rem; }
ul { padding-left: 1.25rem; margin: .25rem 0; }
.note, figcaption, small { color: var(--quiet); font-size: .875rem; }
figure { margin: 0; }
.grid { display: grid; gap: 1rem 2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 20.5rem), 1fr)); }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .25rem 0 .75rem; }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--rule); overflow-wrap: normal; }
th:last-child, td:last-child { padding-right: 0; }
th { font-weight: 600; vertical-align: bottom; }
th small, td small { display: block; font-weight: 400; }
td:first-child { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
.bar { display: inline-block; height: .6rem; background: var(--first); }
pre { background: var(--box); padding: .75rem; margin: .25rem 0 1rem; max-height: 24rem;
  overflow: auto; white-space: pre-wrap; font: .8125rem/1.45 ui-monospace, monospace; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .125rem 1.25rem;
  margin: .25rem 0; }
dt { color: var(--quiet); }
dd { margin: 0; }
svg, img { display: block; width: 100%; height: auto; }
img { background: #fff; }
svg text { fill: var(--quiet); font: 12px system-ui, sans-serif; }
svg text.label { fill: var(--ink); }
.hidden { position: absolute; width: 0; height: 0; }
path.grid { stroke: var(--grid); fill: none; }
path.line { fill: none; stroke-width: 1.75; stroke-linejoin: round; }
path.dots { fill: none; stroke-width: 6; stroke-linecap: round; }
path.cloud { stroke-width: 3.2; stroke-opacity: .5; }
path.diagonal { stroke: var(--quiet); fill: none; }
path.first { stroke: var(--first); }
path.second { stroke: var(--second); }
path.faint { stroke: var(--faint); }
.key { margin-right: 1rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 1.25rem; height: .2rem;
  margin-right: .4rem; vertical-align: middle; background: var(--color, var(--first)); }
.key.second::before { background: var(--second); }
.key.faint::before { background: var(--faint); }
.key.atom::before { width: .9rem; height: .9rem; border-radius: 50%;
  border: 1px solid var(--quiet); }
.structure { max-width: 24rem; margin: 0 auto; cursor: grab; touch-action: pan-y; }
.structure circle { stroke: var(--quiet); stroke-width: .75; }
.structure .bond { stroke: var(--quiet); stroke-width: 3; }
.structure .cell { stroke: var(--rule); stroke-width: 1; }
@media (max-width: 40rem) {
  .errors thead { display: none; }
  .errors, .errors tbody, .errors tr, .errors td { display: block; }
  .errors tr { padding: .5rem 0; border-bottom: 1px solid var(--rule); }
  .errors td { display: flex; justify-content: space-between; gap: 1rem; border: 0;
    padding: .1rem 0; text-align: right; overflow-wrap: anywhere; }
  .errors td:empty { display: none; }
  .errors td::before { content: attr(data-label); color: var(--quiet); flex: none; }
  .errors td:first-child { font-weight: 600; }
  .errors td:first-child::before { content: none; }
  dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .5rem; }
}
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  pre { max-height: none; }
  .scroll { overflow: visible; }
  figure, tr, h2, h3 { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .grid { grid-template-columns: repeat(2, 1fr); }
}
"""
STYLE = _COLORS + _RULES
"""Style sheet of the page: for light and dark screens, wide and narrow, and for paper."""

SCRIPT = """
for (const svg of document.querySelectorAll("svg.structure")) {
  let points = JSON.parse(svg.dataset.points), last = null;
  const shapes = [...svg.children].map(shape => [shape, shape.dataset.p.split(" ").map(Number)]);
  const draw = () => {
    for (const [shape, [a, b]] of shapes) {
      const isSphere = b === undefined;
      shape.setAttribute(isSphere ? "cx" : "x1", points[a][0]);
      shape.setAttribute(isSphere ? "cy" : "y1", -points[a][1]);
      if (isSphere) continue;
      shape.setAttribute("x2", points[b][0]);
      shape.setAttribute("y2", -points[b][1]);
    }
    const depth = ([, at]) => at.reduce((sum, each) => sum + points[each][2], 0) / at.length;
    svg.append(...shapes.sort((s, t) => depth(s) - depth(t)).map(([shape]) => shape));
  };
  svg.addEventListener("pointerdown", event => {
    last = [event.clientX, event.clientY];
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointerup", () => last = null);
  svg.addEventListener("pointercancel", () => last = null);
  svg.addEventListener("pointermove", event => {
    if (!last) return;
    const [u, v] = [(event.clientX - last[0]) / 100, (event.clientY - last[1]) / 100];
    const [c, s, d, t] = [Math.cos(u), Math.sin(u), Math.cos(v), Math.sin(v)];
    points = points.map(([x, y, z]) => [x * c + z * s, y, z * c - x * s])
      .map(([x, y, z]) => [x, y * d - z * t, y * t + z * d]);
    last = [event.clientX, event.clientY];
    draw();
  });
}
"""
"""Script that rotates the points of a drawing, and moves the shapes that are made of them."""
