/**
 * The style that all elements share. Colours follow the `color-scheme` of the page, and each of them can be set with a custom
 * property, `--jobws-…`. The style sheets are constructed, so a page's Content-Security-Policy needs no `unsafe-inline`.
 */

export const BASE = `
:host, :root {
  --text: var(--jobws-text, light-dark(#1a1d24, #e7e9ee));
  --muted: var(--jobws-muted, light-dark(#596173, #9ba4b5));
  --line: var(--jobws-line, light-dark(#e1e4ea, #2c313b));
  --surface: var(--jobws-surface, light-dark(#ffffff, #16191f));
  --sunken: var(--jobws-sunken, light-dark(#f5f6f9, #101318));
  --accent: var(--jobws-accent, light-dark(#2b59d9, #83a8ff));
  --good: var(--jobws-good, light-dark(#0b7544, #55cf95));
  --bad: var(--jobws-bad, light-dark(#bd2130, #ff8b8b));
  --warn: var(--jobws-warn, light-dark(#8a5700, #f0b955));
  --radius: var(--jobws-radius, 10px);
  --mono: var(--jobws-mono, ui-monospace, 'SF Mono', 'Cascadia Code', Menlo, Consolas, 'DejaVu Sans Mono', monospace);
}
:host {
  display: block;
  color: var(--text);
  font: 14px/1.5 var(--jobws-font, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif);
  overflow-wrap: anywhere;
}
:host([hidden]), [hidden] { display: none !important; }
*, ::before, ::after { box-sizing: border-box; }
p, ul, li, pre { margin: 0; padding: 0; }
ul { list-style: none; }
a { color: var(--accent); }
.mono, pre { font: 12.5px/1.55 var(--mono); }
.muted { color: var(--muted); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
button, select, input {
  font: inherit; font-size: 12.5px; color: inherit; background: var(--surface); border: 1px solid var(--line);
  border-radius: 6px; padding: 2px 9px; min-height: 28px;
}
button { cursor: pointer; }
button:hover { border-color: var(--muted); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
summary { cursor: pointer; }
@media (prefers-reduced-motion: reduce) { *, ::before, ::after { animation: none !important; transition: none !important; } }
`;

/** A card, as of a job or a queue: its head with a number at the end, a line of times, and a reason. */
export const CARD = `
.card { display: grid; gap: 10px; padding: 14px 16px; border: 1px solid var(--line); border-radius: var(--radius); background: var(--surface); }
.card > * { min-width: 0; }
.head { display: flex; align-items: baseline; gap: 4px 12px; }
.head > :first-child { flex: 1; display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; min-width: 0; }
.name { font-weight: 600; font-size: 15px; unicode-bidi: isolate; }
.name:empty { display: none; }
.took { font-size: 15px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.times { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 12.5px; color: var(--muted); font-variant-numeric: tabular-nums; }
.reason {
  white-space: pre-wrap; unicode-bidi: isolate; max-height: var(--jobws-result-height, 360px); overflow: auto; padding: 9px 12px;
  border-radius: calc(var(--radius) - 2px); color: var(--bad); background: color-mix(in srgb, var(--bad) 8%, transparent);
}
`;

const sheets = new Map(); // by their text

function sheetOf(text) {
  if (!sheets.has(text)) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    sheets.set(text, sheet);
  }
  return sheets.get(text);
}

/** Styles a shadow root, or the document, with BASE and these texts of CSS. Elements with the same text share its sheet. */
export function adopt(root, ...texts) {
  root.adoptedStyleSheets = [BASE, ...texts].map(sheetOf);
}
