/** A floor: the least that could do the same work, in bench/floors. */
import { join } from "node:path";
import { ended, type Target, WS_PATH } from "./target.ts";

export type FloorName = "relay" | "post" | "publish" | "accept";

export async function startFloor(name: FloorName): Promise<Target> {
  const child = Bun.spawn(["bun", join(import.meta.dir, "../floors", `${name}.ts`)], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  if (value === undefined) throw new Error(`the floor ${name} ended before it listened`);
  const { port } = JSON.parse(new TextDecoder().decode(value)) as { port: number };
  return {
    wsPorts: [port],
    path: WS_PATH,
    dialect: "chatify",
    httpPorts: [port],
    pids: new Map([[child.pid, name]]),
    redisUrl: null,
    stop: async () => {
      child.kill("SIGTERM");
      await ended(child, 2_000);
    },
  };
}
