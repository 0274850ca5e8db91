/**
 * TypeScript as text in which code and commentary are told apart. A scanner of this size is enough
 * for rules about words and braces, and unlike a compiler's own interface it does not move.
 */
export interface Masked {
  /** The source with the insides of comments, strings and regular expressions blanked. */
  readonly code: string;
  /** The source with everything but comments blanked. */
  readonly comments: string;
}

const COMMENT = /\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const STRING = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/y;
const REGEX = /\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
const TEMPLATE_PART = /(?:\\[\s\S]|\$(?!\{)|[^\\`$])*/y;
/** After these a slash starts a regular expression; after anything else it divides. */
const BEFORE_REGEX = /(?:^|[(,=:[!&|?{};>~+*%^-]|\b(?:return|typeof|case|in|of|yield|await))\s*$/;

export function mask(text: string): Masked {
  let code = "";
  let comments = "";
  // For each template that is open: how many braces are open inside its current `${`.
  const templates: number[] = [];
  const emit = (part: string, kind: "code" | "comment" | "literal") => {
    code += kind === "code" ? part : blank(part, kind === "literal");
    comments += kind === "comment" ? part : blank(part, false);
  };
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  const takeTemplate = () => {
    const part = take(TEMPLATE_PART) ?? "";
    const opens = text.startsWith("${", at + part.length);
    if (!opens) templates.pop();
    emit(part, "literal");
    emit(text.slice(at + part.length, at + part.length + (opens ? 2 : 1)), "code");
    at += part.length + (opens ? 2 : 1);
  };
  while (at < text.length) {
    const comment = take(COMMENT);
    const literal = comment ? undefined : (take(STRING) ?? takeRegex(code, take));
    const char = text[at] ?? "";
    if (comment || literal) {
      emit(comment ?? literal ?? "", comment ? "comment" : "literal");
      at += (comment ?? literal ?? "").length;
      continue;
    }
    emit(char, "code");
    at++;
    const depth = templates.at(-1);
    if (char === "`") templates.push(0);
    else if (char === "{" && depth !== undefined) templates[templates.length - 1] = depth + 1;
    else if (char === "}" && depth !== undefined && depth > 0) {
      templates[templates.length - 1] = depth - 1;
    }
    if (char === "`" || (char === "}" && depth === 0)) takeTemplate();
  }
  return { code, comments };
}

function takeRegex(code: string, take: (pattern: RegExp) => string | undefined) {
  return BEFORE_REGEX.test(code.slice(-40)) ? take(REGEX) : undefined;
}

/** Keeps line breaks, and of a literal its two ends, so that positions and shapes stay. */
function blank(part: string, keepEnds: boolean): string {
  const blanked = part.replace(/[^\n]/g, " ");
  if (!keepEnds || part.length < 2) return blanked;
  return `${part[0]}${blanked.slice(1, -1)}${part.at(-1)}`;
}

/** Every module that the source names: imports, type imports, re-exports and dynamic imports. */
export function importsOf(text: string, masked: Masked): string[] {
  const found: string[] = [];
  const pattern = /\b(?:import|from)\s*\(?\s*(["'])[^"']*\1/g;
  for (const match of masked.code.matchAll(pattern)) {
    const written = text.slice(match.index, match.index + match[0].length);
    found.push(written.slice(written.search(/["']/) + 1, -1));
  }
  return found;
}

export interface Block {
  /** Counted from 1. */
  readonly line: number;
  readonly lines: number;
  readonly code: string;
}

/** Bodies of functions, methods and arrows, and of what stands inside them after a parenthesis. */
export function functionBodies(masked: Masked): Block[] {
  const found: Block[] = [];
  const open: { at: number; isBody: boolean }[] = [];
  for (const { 0: brace, index } of masked.code.matchAll(/[{}]/g)) {
    if (brace === "{") {
      open.push({ at: index, isBody: opensBody(masked.code.slice(0, index)) });
      continue;
    }
    const start = open.pop();
    if (!start?.isBody) continue;
    const line = masked.code.slice(0, start.at).split("\n").length;
    const code = masked.code.slice(start.at, index + 1);
    found.push({ line, lines: code.split("\n").length, code });
  }
  return found;
}

function opensBody(before: string): boolean {
  const near = before.slice(-300).trimEnd();
  return (
    near.endsWith("=>") ||
    near.endsWith(")") ||
    /\)\s*:\s*\w[^{};=]*$/.test(near) ||
    /\)\s*:\s*(?:\w+<)?\{[^{}]*\}[>[\]]*$/.test(near)
  );
}
