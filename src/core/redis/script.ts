/** A Lua script, and the digest by which Redis knows it. */

export interface Script {
  readonly text: string;
  readonly sha: string;
}

export function script(text: string): Script {
  return { text, sha: new Bun.CryptoHasher("sha1").update(text).digest("hex") };
}
