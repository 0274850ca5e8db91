/** Tells the benchmark where this floor listens. */
export function announce(port: number | undefined): void {
  process.stdout.write(`${JSON.stringify({ port })}\n`);
}
