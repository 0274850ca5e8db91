/**
 * Bounds the body of a request before anybody reads it. Bun's own limit answers without a body, so
 * it is left open and this one answers with a code. Bun does not buffer a body that nobody reads:
 * 600 MB sent to a server that answered at once cost it 2 MB.
 */
import { ChatifyError } from "../protocol/errors.ts";

/**
 * The request, if its body holds at most `bytesMax`. Throws `too_large` otherwise. A body of
 * unknown length (chunked) is read here, because only reading tells.
 */
export function limitBody(request: Request, bytesMax: number): Request | Promise<Request> {
  const length = request.headers.get("content-length");
  if (length !== null) {
    if (Number(length) > bytesMax) throw tooLarge(bytesMax);
    return request;
  }
  if (request.body === null) return request;
  return readBounded(request, request.body, bytesMax);
}

async function readBounded(
  request: Request,
  body: ReadableStream<Uint8Array>,
  bytesMax: number,
): Promise<Request> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) throw tooLarge(bytesMax);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof ChatifyError) throw error;
    throw new ChatifyError("bad_request", "the body ended early");
  }
  const { method, headers, signal } = request;
  return new Request(request.url, { method, headers, signal, body: Buffer.concat(chunks) });
}

function tooLarge(bytesMax: number): ChatifyError {
  return new ChatifyError("too_large", `the body is larger than ${bytesMax} bytes`);
}
