/** The process in which the fault proxies run, so that nothing else of a run slows them down. */
import { FaultProxy } from "./fault_proxy.ts";
import type { LinkReply, LinkRequest } from "./link_fault.ts";

const proxies = new Map<string, FaultProxy>();

function proxyOf(name: string): FaultProxy {
  const proxy = proxies.get(name);
  if (proxy === undefined) throw new Error(`there is no link ${name}`);
  return proxy;
}

function perform(request: LinkRequest): void {
  if (request.do === "listen") {
    proxies.set(request.plan.name, new FaultProxy(request.plan));
    return;
  }
  const proxy = proxyOf(request.name);
  if (request.do === "set") proxy.set(request.fault, request.peer);
  else if (request.do === "repoint") proxy.repoint(request.target);
  else proxy.reset();
}

process.on("message", (request: LinkRequest) => {
  const reply: LinkReply = { n: request.n };
  try {
    perform(request);
    process.send?.(reply);
  } catch (error) {
    process.send?.({ ...reply, error: String(error) } satisfies LinkReply);
  }
});
process.on("disconnect", () => process.exit(0));
