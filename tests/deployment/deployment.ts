/** What compose.yml brings up, however it is run here. */
export interface Deployment {
  /** host:port of the published gateway. */
  readonly gateway: string;
  /** Runs as many replicas of each named service, and waits until they are healthy. */
  scale(replicas: Record<string, number>): Promise<void>;
  /** Replicas of a service that are healthy now. */
  healthy(service: string): Promise<number>;
  /** As `docker compose restart`: each replica gets SIGTERM, ends, and starts again. */
  restart(service: string): Promise<void>;
  /** Each replica gets SIGKILL from outside, and is started again as its restart policy says. */
  crash(service: string): Promise<void>;
  /** Everything that a service wrote. */
  logs(service: string): Promise<string>;
  /** May be called again. */
  stop(): Promise<void>;
}

export const SERVICES = ["gateway", "access", "logic", "push", "offline"] as const;

export async function eventually(what: string, ms: number, is: () => Promise<boolean>) {
  const until = performance.now() + ms;
  while (!(await is())) {
    if (performance.now() > until) throw new Error(`waited ${ms} ms until ${what}`);
    await Bun.sleep(200);
  }
}
