// How a page of results looks: by the reader's choice of light or dark, and light on paper.
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ink: #1c1f24; --paper: #fff; --line: #d5d9e0; --soft: #5b6470; --bad: #b3261e; --good: #1b7f3b; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --paper: #14171c; --line: #39414d; --soft: #9aa5b3; --bad: #ff8a80; --good: #7bd88f; }
}
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: .94em; }
th, td { padding: .3rem .6rem; white-space: nowrap; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td.text { text-align: left; } td.text { overflow-wrap: anywhere; white-space: normal; min-width: 14rem; } thead th { white-space: normal; vertical-align: bottom; } .wrapped td { white-space: normal; } td small { display: block; color: var(--soft); }
.wide, figure > div { overflow-x: auto; } a { color: inherit; }
figure { margin: 1.5rem 0; break-inside: avoid; } figcaption { color: var(--soft); } svg { max-width: 100%; height: auto; }
.missed { color: var(--bad); } .met { color: var(--good); }
@media screen and (max-width: 50rem) { figure svg[width] { max-width: none; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
@media print {
  body { max-width: none; margin: 0; font-size: 11px; } section + section { break-before: page; } tr, li { break-inside: avoid; }
  th, td { padding: .15rem .4rem; } th:first-child { white-space: normal; } .wide, figure > div { overflow: visible; }
}
`;
