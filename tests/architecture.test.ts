import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { RULES, sourceFile } from "./architecture/rules.ts";
import { functionBodies, importsOf, mask } from "./architecture/source_text.ts";

const root = join(import.meta.dir, "..");
const glob = new Bun.Glob("{src,sdk,web,tests,scripts,bench}/**/*.{ts,lua}");
const project = [...glob.scanSync(root)]
  .filter((path) => !path.includes("node_modules/"))
  .map((path) => sourceFile(path, readFileSync(join(root, path), "utf8")));

test("the project is found", () => {
  expect(project.map((file) => file.path)).toContain("src/core/topology.ts");
});

for (const rule of RULES) {
  test(`${rule.name}`, () => expect(rule.check(project)).toEqual([]));

  test(`the rule can fail: ${rule.name}`, () => {
    const planted = rule.planted.map(([path, text]) => sourceFile(path, text));
    const alone = planted.filter((file) => rule.check([file]).length > 0);
    expect(rule.check(planted).length).toBeGreaterThan(0);
    // Every sample is caught by itself, unless it takes all of them together to break the rule.
    if (alone.length > 0) expect(alone).toEqual(planted);
    const clean = sourceFile(
      "src/core/clean.ts",
      'import { z } from "zod";\nexport const a = z;\n',
    );
    expect(rule.check([clean])).toEqual([]);
  });
}

test("the scanner tells code from comments, strings, templates and regular expressions", () => {
  const text = [
    'const a = "Date.now()"; // Date.now()',
    "const b = `Date.now() $[any(`x $[1} }`)} Date.now()`;".replaceAll("$[", "$" + "{"),
    'const c = /Date.now() [/] " /g.test(a); /* Date.now() */',
    "const d = 4 / 2 / Date.now();",
    "const e = 'it\\'s Date.now()';",
  ].join("\n");
  const { code, comments } = mask(text);
  expect([...code.matchAll(/Date\.now/g)]).toHaveLength(1);
  expect([...comments.matchAll(/Date\.now/g)]).toHaveLength(2);
  expect(code).toContain("any(");
  expect(code.split("\n").map((line) => line.length)).toEqual(
    text.split("\n").map((line) => line.length),
  );
});

test("the scanner finds imports of every form, and not those in text", () => {
  const text = [
    'import a from "a";',
    'import type { B } from "b";',
    'import "c";',
    "import {\n  d,\n} from 'd';",
    'const e = await import("e");',
    'const f = "import g from \\"g\\"";',
    '// import h from "h";',
  ].join("\n");
  expect(importsOf(text, mask(text))).toEqual(["a", "b", "c", "d", "e"]);
});

test("the scanner measures functions, not the objects and classes around them", () => {
  const text = "const a = {\n\n};\nclass B {\n\n  c(): void {\n\n  }\n}\n";
  expect(functionBodies(mask(text))).toMatchObject([{ line: 6, lines: 3 }]);
});
