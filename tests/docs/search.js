// Runs the search of a built site: "node search.js SITE QUERY..." prints the hits of each query as JSON, best first.
"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { createContext, runInContext } = require("node:vm");

const [site, ...queries] = process.argv.slice(2);
const element = { replaceChildren() {}, lastChild: null };
const page = createContext({
  console,
  document: { getElementById: () => element, documentElement: { dataset: {} } },
  localStorage: { setItem() {} },
  SPHINX_HIGHLIGHT_ENABLED: false,
  _: (text) => text,
  _ready() {},
});
page.window = page;
for (const file of ["_static/language_data.js", "_static/searchtools.js", "searchindex.js"])
  runInContext(readFileSync(join(site, file), "utf-8"), page, { filename: file });
page.queries = queries;
const hits = runInContext("queries.map((query) => Search._performSearch(...Search._parseQuery(query)))", page);
// The page shows the results from the last to the first.
console.log(JSON.stringify(hits.map((results) => results.reverse().map(([page, , anchor]) => page + anchor))));
