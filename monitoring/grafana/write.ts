/** Writes dashboards/*.json from the lists of panels. */
import { join } from "node:path";
import { DASHBOARDS } from "./dashboards.ts";
import { dashboard } from "./panel.ts";

export const DASHBOARDS_DIR = join(import.meta.dir, "dashboards");

/** The text of a file, as it is to be. */
export function dashboardText(name: string): string {
  const spec = DASHBOARDS[name];
  if (spec === undefined) throw new Error(`there is no dashboard "${name}"`);
  return `${JSON.stringify(dashboard(spec), null, 2)}\n`;
}

if (import.meta.main) {
  for (const name of Object.keys(DASHBOARDS)) {
    await Bun.write(join(DASHBOARDS_DIR, `${name}.json`), dashboardText(name));
  }
}
