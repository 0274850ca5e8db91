/**
 * The HTTP API for people and for programs: an OpenAPI document and a page that shows it. Both say
 * nothing that is secret, so they are there in every mode; what the page tries out needs a key as any
 * other caller does. The page loads nothing from anywhere else.
 */
import type { Hono } from "hono";
import style from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import bundle from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import page from "./reference/index.html.txt" with { type: "text" };
import start from "./reference/start.js.txt" with { type: "text" };

const DOCS = "/chatify/docs";
/** The page's own parts, and the inline styles and images that it makes up. */
const POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
const DAY = "max-age=86400";

/** `document` is asked for once, at the first request. */
export function addApiReference(app: Hono, document: () => object): void {
  let json = "";
  app.get("/chatify/openapi.json", (c) => {
    if (json === "") json = JSON.stringify(document());
    return c.body(json, 200, { "content-type": "application/json" });
  });
  app.get(DOCS, (c) => c.redirect(`${DOCS}/`));
  app.get(`${DOCS}/`, (c) => {
    const headers = { "content-type": "text/html; charset=utf-8" };
    return c.body(page, 200, { ...headers, "content-security-policy": POLICY });
  });
  app.get(`${DOCS}/start.js`, (c) => c.body(start, 200, { "content-type": "text/javascript" }));
  const files = { "swagger-ui-bundle.js": bundle, "swagger-ui.css": style };
  for (const [name, path] of Object.entries(files)) {
    const file = () => new Response(Bun.file(path), { headers: { "cache-control": DAY } });
    app.get(`${DOCS}/${name}`, file);
  }
}
