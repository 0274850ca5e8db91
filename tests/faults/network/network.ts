/** All links between the parties of a run: each a fault proxy, all in one process of their own. */
import { join } from "node:path";
import type { Subprocess } from "bun";
import type { LinkAddress, LinkFault, LinkPlan, LinkReply, LinkRequest } from "./link_fault.ts";

type Unnumbered<T> = T extends { n: number } ? Omit<T, "n"> : never;

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

export class Network {
  private readonly process: Subprocess;
  private readonly waiting = new Map<number, Waiting>();
  private readonly names: string[] = [];
  private n = 0;

  constructor() {
    this.process = Bun.spawn(["bun", join(import.meta.dir, "proxy_process.fixture.ts")], {
      stdout: "inherit",
      stderr: "inherit",
      ipc: (reply: LinkReply) => this.settle(reply),
      onExit: () => {
        for (const { reject } of this.waiting.values()) reject(new Error("the proxies ended"));
        this.waiting.clear();
      },
    });
  }

  /** The names of all links, in the order in which they were made. */
  links(): readonly string[] {
    return this.names;
  }

  get pid(): number {
    return this.process.pid;
  }

  async link(name: string, listen: LinkAddress, target: LinkAddress): Promise<LinkAddress> {
    const plan: LinkPlan = { name, listen, target };
    await this.ask({ do: "listen", plan });
    this.names.push(name);
    return listen;
  }

  /** `peer`: only connections in whose first bytes this text stands. */
  set(name: string, fault: LinkFault | null, peer = ""): Promise<void> {
    return this.ask({ do: "set", name, fault, peer });
  }

  repoint(name: string, target: LinkAddress): Promise<void> {
    return this.ask({ do: "repoint", name, target });
  }

  reset(name: string): Promise<void> {
    return this.ask({ do: "reset", name });
  }

  async stop(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.exited;
  }

  private ask(request: Unnumbered<LinkRequest>): Promise<void> {
    const n = ++this.n;
    return new Promise((resolve, reject) => {
      this.waiting.set(n, { resolve, reject });
      this.process.send({ ...request, n });
    });
  }

  private settle({ error, n }: LinkReply): void {
    const waiting = this.waiting.get(n);
    this.waiting.delete(n);
    if (error === undefined) waiting?.resolve();
    else waiting?.reject(new Error(error));
  }
}
