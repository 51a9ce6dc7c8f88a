import { TokencastError } from "./error.js";

/** A stream at a gateway. */
export interface Target {
  /** What stands before /v1, without a slash at its end. */
  gateway: string;
  id: string;
  /** What the URL's query said. */
  ticket: string | null;
  after: string | null;
}

/** Takes a stream's URL or that of its events; a relative one is taken from the page. */
export function parseTarget(url: string | URL, base: string | undefined): Target {
  const invalid = (why: string): TokencastError => new TokencastError("invalid_url", `${why}; expected https://HOST/v1/streams/ID`);
  let parsed: URL;
  try {
    parsed = new URL(url, base);
  } catch {
    throw invalid(`${String(url)} is no URL`);
  }
  const found = /^(.*)\/v1\/streams\/([A-Za-z0-9_-]{1,64})(?:\/events)?\/?$/.exec(parsed.pathname);
  if (found === null) throw invalid(`${parsed.pathname} is no stream`);
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") throw invalid(`${parsed.protocol} is not followed`);
  return { gateway: parsed.origin + found[1]!, id: found[2]!, ticket: parsed.searchParams.get("ticket"), after: parsed.searchParams.get("after") };
}
