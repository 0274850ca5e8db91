/** What can be wrong with a TCP link, as the fault proxy plays it. */
export type LinkFault =
  /** Every connection is reset and no new one is made. */
  | { readonly kind: "cut" }
  /** Nothing gets through in one direction, its end included; what was sent arrives afterwards. */
  | { readonly kind: "one_way_cut"; readonly direction: Direction }
  /** Both directions, so that a peer looks as if it hung. */
  | { readonly kind: "stall" }
  | { readonly kind: "delay"; readonly ms: number; readonly jitterMs: number }
  | { readonly kind: "throttle"; readonly bytesPerSecond: number }
  /** Each byte is written by itself. */
  | { readonly kind: "byte_at_a_time" }
  /** One end loses its connection, and the other end is told nothing. */
  | { readonly kind: "half_open"; readonly keeps: "client" | "server" }
  /** The next request arrives, its reply is swallowed, then both ends are reset. */
  | { readonly kind: "swallowed_reply" };

/** `up` is from the one who dialled to the one who listens. */
export type Direction = "up" | "down";

export interface LinkAddress {
  readonly host: string;
  readonly port: number;
}

export interface LinkPlan {
  readonly name: string;
  readonly listen: LinkAddress;
  readonly target: LinkAddress;
}

/** What the process of the proxies is asked for; each request is answered with its number. */
export type LinkRequest =
  | { readonly n: number; readonly do: "listen"; readonly plan: LinkPlan }
  /** `peer`: only connections whose first bytes hold this text. */
  | {
      readonly n: number;
      readonly do: "set";
      readonly name: string;
      readonly fault: LinkFault | null;
      readonly peer: string;
    }
  | {
      readonly n: number;
      readonly do: "repoint";
      readonly name: string;
      readonly target: LinkAddress;
    }
  /** Resets every connection once, and goes on. */
  | { readonly n: number; readonly do: "reset"; readonly name: string };

export interface LinkReply {
  readonly n: number;
  readonly error?: string;
}
