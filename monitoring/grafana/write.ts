/** Writes dashboards/*.json from the lists of panels, formatted as the rest of the project. */
import { join } from "node:path";
import { DASHBOARDS } from "./dashboards.ts";
import { dashboard } from "./panel.ts";

const dir = join(import.meta.dir, "dashboards");
for (const [name, spec] of Object.entries(DASHBOARDS)) {
  await Bun.write(join(dir, `${name}.json`), JSON.stringify(dashboard(spec)));
}
const format = ["bunx", "biome", "format", "--write", dir];
process.exit(await Bun.spawn(format, { stdout: "ignore" }).exited);
