/** Tokens of the load's users, made before the clock runs. */
const base64url = (text: string) => Buffer.from(text).toString("base64url");

export function userName(index: number): string {
  return `b${String(index).padStart(6, "0")}`;
}

/** HS256, valid for an hour. */
export function tokenOf(user: string, secret: string): string {
  const now = Math.floor(Date.now() / 1_000);
  const claims = JSON.stringify({ sub: user, device_id: "d1", iat: now, exp: now + 3_600 });
  const text = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(claims)}`;
  const signature = new Bun.CryptoHasher("sha256", secret).update(text).digest("base64url");
  return `${text}.${signature}`;
}
