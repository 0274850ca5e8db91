/** Where the memory is: by kind of process, and in the kernel. */
import { readFileSync } from "node:fs";

export interface MemoryLook {
  readonly availableBytes: number;
  /** Proportional set size by kind of process: pages that several share are counted once in all. */
  readonly pssBytes: Readonly<Record<string, number>>;
  readonly rssBytes: Readonly<Record<string, number>>;
  /** Kernel objects: sockets, files, epoll entries, hash tables. */
  readonly slabBytes: number;
  readonly pageTableBytes: number;
  /** Bytes that wait in the buffers of all TCP sockets. */
  readonly tcpBufferBytes: number;
  /** Both ends of a loopback connection are counted. */
  readonly tcpSockets: number;
}

const KB = 1_024;
const PAGE_BYTES = 4_096;

function numberAfter(text: string, name: string): number {
  return Number(new RegExp(`${name}:?\\s+(\\d+)`).exec(text)?.[1] ?? 0);
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    // The process has ended.
    return "";
  }
}

/** `kinds`: what each process is counted as. */
export function lookAtMemory(kinds: ReadonlyMap<number, string>): MemoryLook {
  const pssBytes: Record<string, number> = {};
  const rssBytes: Record<string, number> = {};
  for (const [pid, kind] of kinds) {
    const text = read(`/proc/${pid}/smaps_rollup`);
    pssBytes[kind] = (pssBytes[kind] ?? 0) + numberAfter(text, "\nPss") * KB;
    rssBytes[kind] = (rssBytes[kind] ?? 0) + numberAfter(text, "\nRss") * KB;
  }
  const info = read("/proc/meminfo");
  const sockets = /^TCP: inuse (\d+).* mem (\d+)/m.exec(read("/proc/net/sockstat"));
  return {
    availableBytes: numberAfter(info, "MemAvailable") * KB,
    pssBytes,
    rssBytes,
    slabBytes: numberAfter(info, "\nSlab") * KB,
    pageTableBytes: numberAfter(info, "\nPageTables") * KB,
    tcpBufferBytes: Number(sockets?.[2] ?? 0) * PAGE_BYTES,
    tcpSockets: Number(sockets?.[1] ?? 0),
  };
}
