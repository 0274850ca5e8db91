/**
 * The few system calls of a TCP client, straight from libc. A socket of a runtime's own costs its
 * process a kilobyte or two; here it is a number, so that the clients of a million connections leave
 * the machine's memory to what is measured. Linux only.
 */
import { dlopen } from "bun:ffi";
import { present } from "../present.ts";

const { symbols } = dlopen("libc.so.6", {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  send: { args: ["i32", "ptr", "u64", "i32"], returns: "i32" },
  recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  epoll_create1: { args: ["i32"], returns: "i32" },
  epoll_ctl: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  epoll_wait: { args: ["i32", "ptr", "i32", "i32"], returns: "i32" },
});

const AF_INET = 2;
/** SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC. */
const STREAM_NONBLOCKING = 1 | 0x800 | 0x80000;
const IPPROTO_IP = 0;
/** The port is chosen at `connect`, when the whole address pair is known. */
const IP_BIND_ADDRESS_NO_PORT = 24;
const MSG_NOSIGNAL = 0x4000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
const EPOLLOUT = 4;
const EPOLLERR = 8;
const EPOLLHUP = 16;
const EPOLLRDHUP = 0x2000;
const EPOLLET = 0x8000_0000;
const SOCKADDR_BYTES = 16;
/** The struct is packed on x86-64 only. */
const EVENT_BYTES = process.arch === "x64" ? 12 : 16;
const EVENT_DATA_AT = process.arch === "x64" ? 4 : 8;
const EVENTS_MAX = 1_024;

const one = new Uint32Array([1]);
const address = Buffer.alloc(SOCKADDR_BYTES);

function fillAddress(ip: number, port: number): Buffer {
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.writeUInt32BE(ip, 4);
  return address;
}

const LOOPBACK = 0x7f00_0001;

/** Begins to connect from `sourceIp` (a number) to a port of 127.0.0.1; -1 when no socket is left. */
export function startConnect(sourceIp: number, port: number): number {
  const fd = symbols.socket(AF_INET, STREAM_NONBLOCKING, 0);
  if (fd < 0) return -1;
  symbols.setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, one, 4);
  if (symbols.bind(fd, fillAddress(sourceIp, 0), SOCKADDR_BYTES) < 0) {
    symbols.close(fd);
    return -1;
  }
  // Negative for "in progress"; a refusal comes as an event.
  symbols.connect(fd, fillAddress(LOOPBACK, port), SOCKADDR_BYTES);
  return fd;
}

/** Bytes taken; negative when none were. */
export function send(fd: number, bytes: Buffer): number {
  return symbols.send(fd, bytes, bytes.length, MSG_NOSIGNAL);
}

/** Bytes read into `into`; 0 when the other side has ended, negative when there is nothing. */
export function receive(fd: number, into: Buffer): number {
  return symbols.recv(fd, into, into.length, 0);
}

export function close(fd: number): void {
  symbols.close(fd);
}

/** Edge-triggered: what is ready is told once, so it has to be read until there is nothing left. */
export class Poll {
  private readonly fd = symbols.epoll_create1(0);
  private readonly events = Buffer.alloc(EVENT_BYTES * EVENTS_MAX);
  private readonly interest = Buffer.alloc(EVENT_BYTES);

  constructor() {
    if (this.fd < 0) throw new Error("epoll_create1 failed");
    this.interest.writeUInt32LE(EPOLLIN | EPOLLOUT | EPOLLRDHUP, 0);
    this.interest[3] = present(this.interest[3]) | (EPOLLET >>> 24);
  }

  add(fd: number): void {
    this.interest.writeUInt32LE(fd, EVENT_DATA_AT);
    if (symbols.epoll_ctl(this.fd, EPOLL_CTL_ADD, fd, this.interest) < 0) {
      throw new Error("epoll_ctl failed");
    }
  }

  /**
   * Calls `onReady` for each socket that something happened to; returns how many there were. What is
   * `broken` was reset: a read of it fails as if there were nothing yet.
   */
  wait(timeoutMs: number, onReady: (fd: number, broken: boolean) => void): number {
    const count = symbols.epoll_wait(this.fd, this.events, EVENTS_MAX, timeoutMs);
    for (let i = 0; i < count; i += 1) {
      const at = i * EVENT_BYTES;
      const broken = (this.events.readUInt32LE(at) & (EPOLLERR | EPOLLHUP)) !== 0;
      onReady(this.events.readUInt32LE(at + EVENT_DATA_AT), broken);
    }
    return count;
  }
}
